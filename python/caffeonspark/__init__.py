"""CaffeOnSpark for Python programs.

The classes of `com.yahoo.ml.caffe` are in a jar, which this package brings along; a Spark session needs it:

    spark = SparkSession.builder.config("spark.jars", caffeonspark.jar_path()).getOrCreate()
"""

from importlib.metadata import version
from pathlib import Path

__version__ = version("caffeonspark")
__all__ = ["__version__", "jar_path"]


def jar_path():
    """The path of the jar for `spark.jars` or `spark-submit`, as text. Raises FileNotFoundError where the package was
    not installed from its wheel."""
    folder = Path(__file__).parent / "jars"
    jars = sorted(folder.glob("caffeonspark-*.jar"))
    if len(jars) != 1:
        raise FileNotFoundError(f"{folder} should hold one jar and holds {len(jars)}; install the wheel of dist/")
    return str(jars[0])
