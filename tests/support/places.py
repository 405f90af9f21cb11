"""Where tests find things, and what they start Spark with."""

import importlib.util
import os
from contextlib import contextmanager
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
BUILD = Path(os.environ.get("CAFFE_BUILD_DIR", ROOT / "build"))
DATA = Path(os.environ.get("CAFFE_TEST_DATA", ROOT.parent / "shared/data"))  # data sets that no package has
FASHION_MNIST = Path("/usr/share/datasets/fashion-mnist")  # Debian's package dataset-fashion-mnist
SPARK_HOME = Path(importlib.util.find_spec("pyspark").origin).parent  # without the time that importing it takes
LOOPBACK = "127.0.0.1"
# JVMs of tests live shortly: what Java's second compiler does for them costs more than it saves, nearly half of all time.
QUICK_JVM = "-XX:TieredStopAtLevel=1"
os.environ.setdefault("SPARK_SUBMIT_OPTS", QUICK_JVM)  # of drivers that pyspark or spark-submit starts from here


def spark_environment(**more: str) -> dict[str, str]:
    """What spark-submit and Spark's daemons are started with: nothing of the caller's settings for Spark, and loopback."""
    kept = {key: os.environ[key] for key in ("PATH", "JAVA_HOME", "LANG", "HOME") if key in os.environ}
    return {**kept, "SPARK_LOCAL_IP": LOOPBACK, "SPARK_SUBMIT_OPTS": QUICK_JVM, **more}


@contextmanager
def local_spark(warehouse, **settings):
    """A Spark session with two task slots in this process; settings: Spark properties, with _ for the dots."""
    from pyspark.sql import SparkSession

    builder = SparkSession.builder.master("local[2]").appName("test").config("spark.ui.enabled", "false")
    builder = builder.config("spark.driver.host", LOOPBACK).config("spark.sql.warehouse.dir", str(warehouse))
    for name, value in settings.items():
        builder = builder.config(name.replace("_", "."), value)
    session = builder.getOrCreate()
    yield session
    session.stop()
