"""The classes of com.yahoo.ml.caffe as Python objects. Names and arguments are those of the Scala API."""

from collections.abc import Iterable, Mapping
from contextlib import contextmanager
from typing import Any

from py4j.java_gateway import JavaObject, JavaPackage
from py4j.protocol import Py4JJavaError
from pyspark import SparkContext
from pyspark.errors.exceptions.captured import CapturedException
from pyspark.sql import DataFrame, SparkSession

from caffeonspark._jar import jar_path
from caffeonspark._progress import shown

Spark = SparkSession | SparkContext


class CaffeError(RuntimeError):
    """Training, test or feature extraction could not go on."""


# Errors of the JVM that have a counterpart in Python, most special first.
_EXCEPTIONS: list[tuple[str, type[Exception]]] = [
    ("java.lang.IllegalArgumentException", ValueError),
    ("java.io.FileNotFoundException", FileNotFoundError),
    ("java.io.IOException", OSError),
]


@contextmanager
def _errors():
    """Errors of the JVM by their message, without its stack trace."""
    try:
        yield
    except (Py4JJavaError, CapturedException) as error:
        # pyspark has replaced some of them by its own; the original is inside.
        java = error.java_exception if isinstance(error, Py4JJavaError) else error._origin
        if java is None:
            raise
        name = java.getClass().getName()
        kind = next((python for java_name, python in _EXCEPTIONS if java_name == name), CaffeError)
        raise kind(java.getMessage() or name) from None


def _context(spark: Spark) -> SparkContext:
    return spark.sparkContext if isinstance(spark, SparkSession) else spark


def _package(context: SparkContext) -> Any:
    package = context._jvm.com.yahoo.ml.caffe
    if isinstance(package.ScalaCheck, JavaPackage):
        raise CaffeError(
            "this Spark session was started without CaffeOnSpark's jar; import caffeonspark before the session starts, "
            f"or start with caffeonspark-submit, or with --jars {jar_path()}"
        )
    if problem := package.ScalaCheck.problem():
        raise CaffeError(f"{problem} and name it in the environment variable CAFFEONSPARK_JAR")
    _share_jar(context)
    return package


def _share_jar(context: SparkContext) -> None:
    """Where the program's own spark.jars took the place of ours, only the driver has the jar."""
    if context.master.startswith("local") and not context.master.startswith("local-cluster"):
        return
    scala = context._jsc.sc()
    jars = scala.listJars()
    names = [jars.apply(i).rsplit("/", 1)[-1] for i in range(jars.length())]
    if not any(name.startswith("caffeonspark-") for name in names):
        scala.addJar(jar_path())


def _strings(context: SparkContext, values: Iterable[str]) -> JavaObject:
    values = list(values)
    array = context._gateway.new_array(context._jvm.java.lang.String, len(values))
    for i, value in enumerate(values):
        array[i] = value
    return array


def _tokens(options: Mapping[str, Any]) -> list[str]:
    """Command line tokens: {"conf": "a", "train": True, "features": ["x", "y"]} -> -conf a -train -features x,y"""
    tokens: list[str] = []
    for key, value in options.items():
        flag = "-" + key.lstrip("-")
        if value is True:
            tokens.append(flag)
        elif isinstance(value, (list, tuple)):
            tokens += [flag, ",".join(map(str, value))]
        elif value is not False and value is not None:
            tokens += [flag, str(value)]
    return tokens


def register_sql(spark: SparkSession) -> None:
    """Gives SQL the function caffe_predict(model, input): the first output of the CaffeModel saved at path `model`."""
    with _errors():
        _package(spark.sparkContext).CaffeSQL.register(spark._jsparkSession)


class Config:
    """What a job does. `args` are flags with values, or command line tokens; keywords are flags too. Every property of
    the Scala class is an attribute, to be read and set."""

    def __init__(self, spark: Spark, args: Mapping[str, Any] | Iterable[str] = (), **flags: Any):
        context = _context(spark)
        tokens = (_tokens(args) if isinstance(args, Mapping) else list(args)) + _tokens(flags)
        with _errors():
            # Without flags there is no command line, and properties have their own defaults.
            java = _package(context).Config(context._jsc.sc(), *([_strings(context, tokens)] if tokens else []))
        self.__dict__.update(_context=context, _java=java)

    def __getattr__(self, name: str) -> Any:
        self._require(name)
        with _errors():
            value = getattr(self._java, name)()
        return list(value) if name == "features" and value is not None else value

    def __setattr__(self, name: str, value: Any) -> None:
        self._require(name + "_$eq")
        if name == "features" and value is not None:
            value = _strings(self._context, value)
        with _errors():
            getattr(self._java, name + "_$eq")(value)

    def _require(self, method: str) -> None:
        if method.startswith("_") or method not in dir(self._java):
            raise AttributeError(f"a Config has no property {method.removesuffix('_$eq')} that can be used so")

    def __repr__(self) -> str:
        return self._java.toString()


class DataSource:
    """Finds the records of a network's data layer."""

    def __init__(self, spark: Spark):
        self._context = _context(spark)

    def getSource(self, conf: Config, isTraining: bool) -> JavaObject:  # noqa: N802, N803
        """The source of the layer of the TRAIN or the TEST phase."""
        with _errors():
            return _package(self._context).DataSource.getSource(conf._java, isTraining)


class CaffeOnSpark:
    """Trains networks on the executors of a Spark application, and runs them over data there. An `sqlContext`, which
    programs for the first versions pass, is not needed any more."""

    def __init__(self, spark: Spark, sqlContext: object = None):  # noqa: N803
        context = _context(spark)
        self._session = spark if isinstance(spark, SparkSession) else SparkSession(context)
        with _errors():
            self._java = _package(context).CaffeOnSpark(context._jsc.sc())
            self._log = _package(context).ProgressLog

    def train(self, source: JavaObject) -> None:
        """Trains; the model is written where the source's configuration says."""
        with _errors():
            shown(self._log, lambda: self._java.train(source))

    def trainWithValidation(self, sourceTrain: JavaObject, sourceValidation: JavaObject) -> DataFrame:  # noqa: N802, N803
        """Trains; one row per validation round, one column of floats per output of the test net."""
        with _errors():
            rounds = shown(self._log, lambda: self._java.trainWithValidation(sourceTrain, sourceValidation))
            return DataFrame(rounds, self._session)

    @property
    def trainingSummary(self) -> list[str]:  # noqa: N802
        """Lines about the last training run: images per second, and how evenly the workers were used."""
        lines = self._java.trainingSummary()
        return [lines.apply(i) for i in range(lines.length())]

    @property
    def trainingCurve(self) -> DataFrame:  # noqa: N802
        """The last training run, a row for each line that it displayed: iteration, loss, learning_rate,
        images_per_second, and the shares of time that worker 0 spent waiting_for_data and waiting_for_workers."""
        return DataFrame(self._java.trainingCurve(), self._session)

    def test(self, source: JavaObject) -> dict[str, list[float]]:
        """The mean of every output of the test net over all records."""
        with _errors():
            entries = self._java.test(source).iterator()
            means = {}
            while entries.hasNext():
                entry = entries.next()
                values = entry._2()
                means[entry._1()] = [values.apply(i) for i in range(values.length())]
            return means

    def features(self, source: JavaObject) -> DataFrame:
        """One row per record: SampleID, and one column of floats per blob that the configuration names."""
        with _errors():
            return DataFrame(self._java.features(source), self._session)
