"""CaffeOnSpark for Python programs.

The classes of `com.yahoo.ml.caffe` are in a jar, which this package brings along: a Spark session that starts after
`import caffeonspark` has it.

    import caffeonspark
    from pyspark.sql import SparkSession

    spark = SparkSession.builder.getOrCreate()
    conf = caffeonspark.Config(spark, conf="solver.prototxt", model="file:/tmp/lenet.model", clusterSize=2)
    cos = caffeonspark.CaffeOnSpark(spark)
    cos.train(caffeonspark.DataSource(spark).getSource(conf, True))
    print(cos.test(caffeonspark.DataSource(spark).getSource(conf, False)))

`caffeonspark.ml` has the stages for spark.ml, `caffeonspark.register_sql(spark)` a function for SQL.
"""

from importlib.metadata import version

try:
    from caffeonspark._api import CaffeError, CaffeOnSpark, Config, DataSource, register_sql
except ModuleNotFoundError as error:
    if error.name not in ("pyspark", "py4j"):
        raise

    def __getattr__(name: str):  # jar_path() and caffeonspark-submit need none
        if name not in __all__:
            raise AttributeError(f"module 'caffeonspark' has no attribute {name!r}")
        raise ImportError(
            f"caffeonspark.{name} needs PySpark: run the program by spark-submit, or pip install 'caffeonspark[spark]'"
        )


from caffeonspark._jar import announce_jar, jar_path, with_jar

__version__ = version("caffeonspark")
__all__ = [
    "CaffeError",
    "CaffeOnSpark",
    "Config",
    "DataSource",
    "__version__",
    "jar_path",
    "register_sql",
    "with_jar",
]

announce_jar()
