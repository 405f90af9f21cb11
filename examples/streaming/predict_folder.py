"""Answers pictures as they arrive in a folder, with Structured Streaming.

usage: predict_folder.py [--once] PROTOTXT CAFFEMODEL INPUT-FOLDER OUTPUT-FOLDER

Every picture gives one line of JSON in the output folder: its path, the class and the probabilities. A picture that
cannot be read gives nulls. --once answers what is there and ends; else the program runs until it is stopped, and goes
on where it was when it is started again.
"""

import argparse

from caffeonspark.ml import CaffeModel
from pyspark.sql import SparkSession
from pyspark.sql.streaming import StreamingQuery

# What Spark's format binaryFile gives; a stream must be told.
FILES = "path STRING, modificationTime TIMESTAMP, length BIGINT, content BINARY"


def predict(spark: SparkSession, model: CaffeModel, source: str, target: str, once: bool) -> StreamingQuery:
    """Starts the stream. `target` also holds its checkpoint."""
    pictures = spark.readStream.format("binaryFile").schema(FILES).load(source)
    answered = model.transform(pictures).drop("content", "length")
    writer = answered.writeStream.format("json").option("checkpointLocation", f"{target}/_checkpoint")
    if once:
        writer = writer.trigger(availableNow=True)
    return writer.start(target)


def main() -> None:
    parser = argparse.ArgumentParser(usage=__doc__.split("\n\n")[1].removeprefix("usage: "))
    parser.add_argument("--once", action="store_true")
    for name in ("prototxt", "caffemodel", "source", "target"):
        parser.add_argument(name)
    arguments = parser.parse_args()
    spark = SparkSession.builder.appName("pictures").getOrCreate()
    model = CaffeModel.fromCaffe(arguments.prototxt, arguments.caffemodel)
    model.setFeaturesCol("content").setPredictionCol("class").setResize(True).setHandleInvalid("keep")
    predict(spark, model, arguments.source, arguments.target, arguments.once).awaitTermination()
    spark.stop()


if __name__ == "__main__":
    main()
