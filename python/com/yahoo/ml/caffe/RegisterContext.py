"""What CaffeOnSpark's Python programs call first. Nothing needs to be registered any more; the calls check their
argument, and see that the session has the jar."""

from caffeonspark._api import _context, _package
from pyspark import SparkContext
from pyspark.sql import SparkSession, SQLContext


def registerContext(sc: SparkContext | SparkSession) -> None:  # noqa: N802
    if not isinstance(sc, (SparkContext, SparkSession)):
        raise TypeError(f"registerContext takes a SparkContext or a SparkSession, not a {type(sc).__name__}")
    _package(_context(sc))


def registerSQLContext(sqlContext: SQLContext | SparkSession) -> None:  # noqa: N802, N803
    if not isinstance(sqlContext, (SQLContext, SparkSession)):
        raise TypeError(f"registerSQLContext takes a SQLContext or a SparkSession, not a {type(sqlContext).__name__}")
    session = sqlContext if isinstance(sqlContext, SparkSession) else sqlContext.sparkSession
    _package(session.sparkContext)
