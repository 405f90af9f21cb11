"""CaffeOnSpark for Python programs.

The classes of `com.yahoo.ml.caffe` are in a jar, which this package brings along; a Spark session needs it:

    from pyspark.sql import SparkSession
    import caffeonspark

    spark = caffeonspark.with_jar(SparkSession.builder).getOrCreate()
    conf = caffeonspark.Config(spark, conf="solver.prototxt", model="file:/tmp/lenet.model", clusterSize=2)
    cos = caffeonspark.CaffeOnSpark(spark)
    cos.train(caffeonspark.DataSource(spark).getSource(conf, True))
    print(cos.test(caffeonspark.DataSource(spark).getSource(conf, False)))
"""

from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING

try:
    from caffeonspark._api import CaffeError, CaffeOnSpark, Config, DataSource
except ModuleNotFoundError as error:
    if error.name not in ("pyspark", "py4j"):
        raise
    raise ImportError(
        "caffeonspark needs PySpark: run the program by spark-submit, or pip install 'caffeonspark[spark]'"
    ) from None

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

__version__ = version("caffeonspark")
__all__ = ["CaffeError", "CaffeOnSpark", "Config", "DataSource", "__version__", "jar_path", "with_jar"]


def jar_path() -> str:
    """The path of the jar for `spark.jars` or `spark-submit`. Raises FileNotFoundError where the package was not
    installed from its wheel."""
    folder = Path(__file__).parent / "jars"
    jars = sorted(folder.glob("caffeonspark-*.jar"))
    if len(jars) != 1:
        raise FileNotFoundError(f"{folder} should hold one jar and holds {len(jars)}; install the wheel of dist/")
    return str(jars[0])


def with_jar(builder: "SparkSession.Builder") -> "SparkSession.Builder":
    """The builder with our jar among its `spark.jars`, before or after others."""
    # The options so far are no public attribute; where they cannot be read, there are none of ours to lose.
    others = getattr(builder, "_options", {}).get("spark.jars", "")
    return builder.config("spark.jars", ",".join(filter(None, [others, jar_path()])))
