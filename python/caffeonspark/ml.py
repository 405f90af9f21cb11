"""Stages for spark.ml: CaffeEstimator learns a network, CaffeModel answers rows with one.

    import caffeonspark
    from caffeonspark.ml import CaffeEstimator, CaffeModel

    model = CaffeEstimator(solver="lenet_solver.prototxt", featuresCol="image", base_lr=0.01).fit(labelled)
    answered = model.transform(pictures)  # every row, every column, and the network's answer

Both are the Scala classes of the same name, with the same Params; they go into Pipelines and CrossValidators, and are
saved and loaded with them.
"""

from pathlib import Path
from typing import Any

from google.protobuf import text_format
from pyspark import SparkContext
from pyspark.ml.param import Param, Params, TypeConverters
from pyspark.ml.param.shared import HasFeaturesCol, HasLabelCol, HasMaxIter, HasValidationIndicatorCol
from pyspark.ml.util import JavaMLReadable, JavaMLReader, JavaMLWritable
from pyspark.ml.wrapper import JavaEstimator, JavaModel
from pyspark.sql import DataFrame, SparkSession

from caffeonspark._api import CaffeError, _errors, _package
from caffeonspark._progress import shown

__all__ = ["CaffeCaptioner", "CaffeEstimator", "CaffeModel", "TrainingSummary"]


def _context() -> SparkContext:
    context = SparkContext._active_spark_context
    if context is None:
        raise CaffeError("no Spark session runs yet; start one with SparkSession.builder.getOrCreate()")
    return context


def _java(name: str) -> Any:
    return getattr(_package(_context()), name)


def _param(name: str, doc: str, converter: Any) -> Param:
    return Param(Params._dummy(), name, doc, typeConverter=converter)


class _CaffeParams(HasFeaturesCol):
    """What can be set about answering rows; the same Params as in Scala."""

    inputs = _param(
        "inputs",
        'what fills the network: "blob=column" for each input; by default the first input is filled by featuresCol',
        TypeConverters.toListString,
    )
    outputs = _param(
        "outputs",
        'blobs that become columns: "blob", or "blob=column"; by default the network\'s outputs',
        TypeConverters.toListString,
    )
    predictionCol = _param(  # noqa: N815
        "predictionCol",
        "column for the index of the largest value of the first output (the value itself, if it is one); empty: none",
        TypeConverters.toString,
    )
    vectorOutput = _param(  # noqa: N815
        "vectorOutput", "outputs as ML vectors instead of arrays of float", TypeConverters.toBoolean
    )
    batchSize = _param(  # noqa: N815
        "batchSize", "rows in one batch; by default as the network says, else 32", TypeConverters.toInt
    )
    handleInvalid = _param(  # noqa: N815
        "handleInvalid",
        "a row that the network cannot take is an error, or left out (skip), or kept with nulls as outputs (keep)",
        TypeConverters.toString,
    )
    inputShapes = _param(  # noqa: N815
        "inputShapes",
        'what a row holds before it is cropped, where the network does not say it: "data:3x227x227"',
        TypeConverters.toListString,
    )
    resize = _param(
        "resize", "resize pictures to the height and width that rows have before cropping", TypeConverters.toBoolean
    )
    scale = _param("scale", "factor for pixels; by default as transform_param says", TypeConverters.toFloat)
    meanValues = _param(  # noqa: N815
        "meanValues", "subtracted from pixels; by default as transform_param says", TypeConverters.toListFloat
    )
    cropSize = _param(  # noqa: N815
        "cropSize", "edge of the square cut from the middle; by default as transform_param says", TypeConverters.toInt
    )
    stages = _param("stages", "stages of the NetState, beside phase TEST", TypeConverters.toListString)
    threads = _param("threads", "compute threads of a task; 0: as many as the task has cores", TypeConverters.toInt)
    precision = _param(
        "precision",
        "what is computed in: f32, or bf16, which is faster on processors that have it",
        TypeConverters.toString,
    )

    def __init__(self, *args: Any):
        super().__init__(*args)
        self._setDefault(
            predictionCol="", vectorOutput=False, handleInvalid="error", resize=False, stages=[], threads=0
        )


def _with_accessors(cls: type) -> type:
    """getX and setX for every Param x."""

    def getter(name: str):
        return lambda self: self.getOrDefault(name)

    def setter(name: str):
        return lambda self, value: self._set(**{name: value})

    names = [name for name in dir(cls) if isinstance(getattr(cls, name, None), Param)]
    for name in names:
        suffix = name[0].upper() + name[1:]
        if not hasattr(cls, "get" + suffix):
            setattr(cls, "get" + suffix, getter(name))
        if "set" + suffix not in vars(cls):
            setattr(cls, "set" + suffix, setter(name))
    return cls


class _Reader(JavaMLReader):
    @classmethod
    def _java_loader_class(cls, clazz: type) -> str:
        return f"com.yahoo.ml.caffe.{clazz.__name__}"

    def load(self, path: str) -> Any:
        with _errors():
            return super().load(path)


class _Readable(JavaMLReadable):
    @classmethod
    def read(cls) -> JavaMLReader:
        _package(_context())
        return _Reader(cls)


@_with_accessors
class CaffeModel(JavaModel, _CaffeParams, _Readable, JavaMLWritable):
    """A network with its weights. `transform` keeps all columns and answers every row once, in order; it works on
    streams too. Made by CaffeModel.fromCaffe, CaffeModel.load, or a CaffeEstimator."""

    def __init__(self, *args: Any):
        super().__init__(*args)
        self._setDefault(precision="f32")  # an estimator's is the solver's

    @classmethod
    def fromCaffe(cls, net: str, weights: str | bytes, **params: Any) -> "CaffeModel":  # noqa: N802
        """A model of Caffe's: `net` is a prototxt, its path or its text; `weights` a path, or the file's bytes
        (.caffemodel or .caffemodel.h5). Keywords are Params."""
        with _errors():
            java = _java("CaffeModel").fromCaffe(net, bytearray(weights) if isinstance(weights, bytes) else weights)
        model = cls._from_java(java)
        return model._set(**params)

    @property
    def netText(self) -> str:  # noqa: N802
        """The network's definition in the language of prototxt files."""
        return self._call_java("netText")

    @property
    def weights(self) -> bytes:
        """The content of the model file."""
        return bytes(self._java_obj.weights())  # _call_java would take them for pickled values

    @property
    def inputNames(self) -> list[str]:  # noqa: N802
        """The blobs that rows can fill."""
        return list(self._call_java("inputNames"))

    @property
    def hasSummary(self) -> bool:  # noqa: N802
        """Whether this model was trained in this program, so that `summary` tells how."""
        return self._call_java("hasSummary")

    @property
    def summary(self) -> "TrainingSummary":
        """How the training went."""
        if not self.hasSummary:
            raise CaffeError("this model has no training summary: it was loaded, or made of files")
        return TrainingSummary(self._java_obj.summary())

    def transform(self, dataset: DataFrame, params: Any = None) -> DataFrame:
        with _errors():
            return super().transform(dataset, params)


@_with_accessors
class CaffeCaptioner(JavaModel, HasFeaturesCol, _Readable, JavaMLWritable):
    """Says in words what a vector of features means, as LRCN's networks do. `transform` keeps all columns and answers
    every row once, in order; null features give a null. Made by CaffeCaptioner.fromCaffe or CaffeCaptioner.load."""

    captionCol = _param("captionCol", "column for the sentence", TypeConverters.toString)  # noqa: N815
    maxLength = _param(  # noqa: N815
        "maxLength", "words after which a sentence ends at the latest", TypeConverters.toInt
    )
    batchSize = _param("batchSize", "sentences that are made together", TypeConverters.toInt)  # noqa: N815
    wordBlob = _param(  # noqa: N815
        "wordBlob", "the network's input for the word before", TypeConverters.toString
    )
    contBlob = _param(  # noqa: N815
        "contBlob", "the network's input that says whether a sentence goes on", TypeConverters.toString
    )
    featuresBlob = _param(  # noqa: N815
        "featuresBlob", "the network's input for the features", TypeConverters.toString
    )
    threads = _param("threads", "compute threads of a task; 0: as many as the task has cores", TypeConverters.toInt)
    precision = _param(
        "precision",
        "what is computed in: f32, or bf16, which is faster on processors that have it",
        TypeConverters.toString,
    )

    def __init__(self, *args: Any):
        super().__init__(*args)
        self._setDefault(
            captionCol="caption",
            maxLength=20,
            batchSize=100,
            wordBlob="input_sentence",
            contBlob="cont_sentence",
            featuresBlob="image_features",
            threads=0,
            precision="f32",
        )

    @classmethod
    def fromCaffe(  # noqa: N802
        cls, net: str, weights: str, vocabulary: str, **params: Any
    ) -> "CaffeCaptioner":
        """`net` is a prototxt for one step of time, its path or its text; `weights` the path of a model file;
        `vocabulary` what Vocab.save or CocoDataSetConverter wrote. Keywords are Params."""
        with _errors():
            java = _java("CaffeCaptioner").fromCaffe(net, weights, vocabulary)
        return cls._from_java(java)._set(**params)

    @property
    def vocabulary(self) -> list[str]:
        """The words that it knows, the most frequent first."""
        return list(self._java_obj.vocabulary())

    def transform(self, dataset: DataFrame, params: Any = None) -> DataFrame:
        with _errors():
            return super().transform(dataset, params)


class TrainingSummary:
    """How the training of a CaffeModel went."""

    def __init__(self, java: Any):
        self._java = java

    @property
    def iterations(self) -> int:
        """Iterations that were done; fewer than max_iter where training stopped early."""
        return self._java.iterations()

    @property
    def curve(self) -> DataFrame:
        """A row for each line that was displayed: iteration, loss, learning_rate, images_per_second, and the shares of
        time that worker 0 spent waiting_for_data and waiting_for_workers."""
        return DataFrame(self._java.curve(), SparkSession.active())

    @property
    def validation(self) -> DataFrame:
        """A row for each validation round: iteration, and an array of float for each output of the network."""
        return DataFrame(self._java.validation(), SparkSession.active())

    def __str__(self) -> str:
        return self._java.toString()


class _TrainParams(_CaffeParams, HasLabelCol, HasMaxIter, HasValidationIndicatorCol):
    """What can be set about training; the same Params as in Scala. What is not set is as the solver's prototxt says."""

    solver = _param("solver", "the solver's prototxt, its text", TypeConverters.toString)
    network = _param(
        "network", "the network's prototxt, its text; else the one that the solver names", TypeConverters.toString
    )
    baseLr = _param("baseLr", "base_lr: the learning rate at the start", TypeConverters.toFloat)  # noqa: N815
    momentum = _param("momentum", "momentum", TypeConverters.toFloat)
    weightDecay = _param("weightDecay", "weight_decay", TypeConverters.toFloat)  # noqa: N815
    lrPolicy = _param(  # noqa: N815
        "lrPolicy", "lr_policy: fixed, step, exp, inv, multistep, poly, sigmoid", TypeConverters.toString
    )
    gamma = _param("gamma", "gamma, of lr_policy", TypeConverters.toFloat)
    power = _param("power", "power, of lr_policy", TypeConverters.toFloat)
    stepSize = _param("stepSize", "stepsize, of lr_policy", TypeConverters.toInt)  # noqa: N815
    stepValues = _param("stepValues", "stepvalue, of lr_policy multistep", TypeConverters.toListInt)  # noqa: N815
    solverType = _param(  # noqa: N815
        "solverType", "type: SGD, Nesterov, AdaGrad, RMSProp, AdaDelta, Adam", TypeConverters.toString
    )
    iterSize = _param("iterSize", "iter_size: batches whose gradients are averaged", TypeConverters.toInt)  # noqa: N815
    clipGradients = _param("clipGradients", "clip_gradients", TypeConverters.toFloat)  # noqa: N815
    seed = _param("seed", "random_seed; drawn and logged if neither says it", TypeConverters.toInt)
    numWorkers = _param(  # noqa: N815
        "numWorkers",
        "workers that train together (clusterSize); each takes batchSize rows in an iteration",
        TypeConverters.toInt,
    )
    validationInterval = _param(  # noqa: N815
        "validationInterval", "test_interval: iterations between validation rounds", TypeConverters.toInt
    )
    earlyStoppingRounds = _param(  # noqa: N815
        "earlyStoppingRounds",
        "stop once so many validation rounds brought nothing better, and keep the best weights; 0: never",
        TypeConverters.toInt,
    )
    monitor = _param(
        "monitor",
        "the output that early stopping watches: one named after a loss or an error shall fall, others shall rise",
        TypeConverters.toString,
    )
    display = _param(
        "display", "iterations between progress lines, and points of the model's curve", TypeConverters.toInt
    )
    initialWeights = _param(  # noqa: N815
        "initialWeights", "models to start from: paths with commas between", TypeConverters.toString
    )
    shuffle = _param(
        "shuffle",
        "read the rows in another order in every epoch; else always in their own, which must not be sorted by label",
        TypeConverters.toBoolean,
    )
    workDir = _param(  # noqa: N815
        "workDir",
        "a folder that the driver and all executors see, for the solver's snapshots: with it a lost executor costs only"
        " the work since the last one; it is empty again after training",
        TypeConverters.toString,
    )

    def __init__(self, *args: Any):
        super().__init__(*args)
        self._setDefault(predictionCol="prediction", earlyStoppingRounds=0, monitor="loss", shuffle=True)


def _text(prototxt: Any) -> str:
    """A path or a text as it is; a message (of caffe.proto, or what NetSpec.to_proto() gives) as text."""
    if isinstance(prototxt, (str, Path)):
        return str(prototxt)
    if not hasattr(prototxt, "SerializeToString"):
        raise TypeError(f"a path, a prototxt's text or a message was expected, not a {type(prototxt).__name__}")
    return text_format.MessageToString(prototxt)


# Names of the solver's fields, and of CaffeOnSpark's flags, for Params that are not just their camelCase.
_OTHER_NAMES = {
    "type": "solverType",
    "stepsize": "stepSize",
    "stepvalue": "stepValues",
    "random_seed": "seed",
    "test_interval": "validationInterval",
    "clusterSize": "numWorkers",
    "cluster_size": "numWorkers",
    "net": "network",
    "weights": "initialWeights",
}


def _param_name(name: str) -> str:
    """base_lr -> baseLr"""
    first, *rest = name.split("_")
    return _OTHER_NAMES.get(name, first + "".join(word.capitalize() for word in rest))


@_with_accessors
class CaffeEstimator(JavaEstimator, _TrainParams, _Readable, JavaMLWritable):
    """Trains a network on a DataFrame. The network's data layers are filled from columns: the first blob from
    featuresCol, the second from labelCol, or as `inputs` says. Keywords are Params, by their names or by those of the
    solver's fields:

        CaffeEstimator(solver="lenet_solver.prototxt", base_lr=0.01, maxIter=1000, numWorkers=2)
    """

    def __init__(self, **params: Any):
        super().__init__()
        self._java_obj = _java("CaffeEstimator")(self.uid)
        self._validation: DataFrame | None = None
        self.setParams(**params)

    def setParams(self, **params: Any) -> "CaffeEstimator":  # noqa: N802
        known = {_param_name(name): (name, value) for name, value in params.items()}
        for name, (given, value) in known.items():
            if not self.hasParam(name):
                raise TypeError(f"CaffeEstimator has no Param {given}; it has {', '.join(p.name for p in self.params)}")
            if name == "solver":
                self.setSolver(value)
            elif name == "network":
                self.setNetwork(value)
            else:
                self._set(**{name: value})
        return self

    def setSolver(self, value: Any) -> "CaffeEstimator":  # noqa: N802
        """The solver's prototxt: a path, its text, or a message. The network that it names is taken along."""
        with _errors():
            self._java_obj.setSolver(_text(value))
        return self._set(solver=self._java_obj.getSolver())

    def setNetwork(self, value: Any) -> "CaffeEstimator":  # noqa: N802
        """The network's prototxt: a path, its text, or a message, as NetSpec.to_proto() gives one."""
        with _errors():
            self._java_obj.setNetwork(_text(value))
        return self._set(network=self._java_obj.getNetwork())

    def setValidation(self, frame: DataFrame | None) -> "CaffeEstimator":  # noqa: N802
        """Rows for validation, in place of those that validationIndicatorCol marks. Not saved with the estimator."""
        self._validation = frame
        self._java_obj.setValidation(None if frame is None else frame._jdf)
        return self

    def copy(self, extra: Any = None) -> "CaffeEstimator":
        made = super().copy(extra)
        return made.setValidation(self._validation) if self._validation is not None else made

    def _create_model(self, java_model: Any) -> CaffeModel:
        # PySpark takes over what was set, but not that this default differs from that of a CaffeModel.
        return CaffeModel._from_java(java_model)._set(predictionCol=self.getOrDefault("predictionCol"))

    def _fit(self, dataset: DataFrame) -> CaffeModel:
        with _errors():
            return self._create_model(shown(_java("ProgressLog"), lambda: self._fit_java(dataset)))
