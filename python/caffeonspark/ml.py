"""A stage for spark.ml: CaffeModel answers rows with a network.

    import caffeonspark
    from caffeonspark.ml import CaffeModel

    model = CaffeModel.fromCaffe("deploy.prototxt", "lenet.caffemodel").setFeaturesCol("image").setOutputs(["prob"])
    answered = model.transform(pictures)  # every row, every column, and "prob"

It is the Scala class of the same name, with the same Params; it goes into Pipelines, and is saved and loaded with them.
"""

from typing import Any

from pyspark import SparkContext
from pyspark.ml.param import Param, Params, TypeConverters
from pyspark.ml.param.shared import HasFeaturesCol
from pyspark.ml.util import JavaMLReadable, JavaMLReader, JavaMLWritable
from pyspark.ml.wrapper import JavaModel
from pyspark.sql import DataFrame

from caffeonspark._api import CaffeError, _errors, _package

__all__ = ["CaffeCaptioner", "CaffeModel"]


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
