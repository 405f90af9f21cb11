"""A network that learned one task gives features for another, in a pipeline of MLlib.

usage: features.py [--iterations N] [--rows N] [--output FOLDER] [DATA]

DATA is a folder with train-images-idx3-ubyte.gz and train-labels-idx1-ubyte.gz, of MNIST or Fashion-MNIST; by default
that of Debian's package dataset-fashion-mnist. A LeNet learns the first eight classes. Its layer ip1 then gives MLlib's
logistic regression features to tell the last two classes apart, which it has never seen, from a few labelled rows. The
trained pipeline goes to FOLDER.
"""

import argparse
import gzip
import struct
from pathlib import Path

from caffeonspark.ml import CaffeEstimator, CaffeModel
from pyspark.ml import Pipeline, PipelineModel
from pyspark.ml.classification import LogisticRegression
from pyspark.ml.evaluation import MulticlassClassificationEvaluator
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql.functions import col

LABELLED = 40  # rows of the new task


def digits(spark: SparkSession, folder: Path, rows: int) -> DataFrame:
    """id, pixels (28 x 28 bytes) and label"""
    with gzip.open(folder / "train-images-idx3-ubyte.gz") as file:
        _, count, height, width = struct.unpack(">4i", file.read(16))
        size = height * width
        images = [file.read(size) for _ in range(min(rows, count))]
    with gzip.open(folder / "train-labels-idx1-ubyte.gz") as file:
        labels = file.read(8 + len(images))[8:]
    records = [(i, bytearray(image), float(label)) for i, (image, label) in enumerate(zip(images, labels, strict=True))]
    return spark.createDataFrame(records, "id INT, pixels BINARY, label DOUBLE").repartition(2).cache()


def learned(rows: DataFrame, iterations: int) -> CaffeModel:
    """LeNet, with a tenth of the rows for validation, until that brings nothing better."""
    network = str(Path(__file__).resolve().parent / "lenet.prototxt")
    estimator = CaffeEstimator(network=network, featuresCol="pixels", base_lr=0.01, momentum=0.9, weightDecay=0.0005)
    estimator.setMaxIter(iterations).setValidationInterval(max(1, iterations // 5)).setEarlyStoppingRounds(3).setSeed(1)
    model = estimator.setValidationIndicatorCol("held").fit(rows.withColumn("held", col("id") % 10 == 0))
    model.summary.validation.select("iteration", col("accuracy")[0].alias("accuracy")).show()
    return model


def compare(model: CaffeModel, rows: DataFrame, output: str | None) -> dict[str, float]:
    """Accuracy of a regression on the network's features, and of one on the pixels themselves."""
    numbered = rows.withColumn("label", col("label") - 8)
    few = numbered.orderBy("id").limit(LABELLED).cache()
    others = numbered.join(few, "id", "left_anti").cache()
    evaluator = MulticlassClassificationEvaluator(metricName="accuracy", predictionCol="answer")
    accuracies = {}
    for blob in ("ip1", "data"):
        features = model.copy().setOutputs([f"{blob}=features"]).setVectorOutput(True).setPredictionCol("")
        regression = LogisticRegression(maxIter=50, regParam=0.01, predictionCol="answer")
        fitted = Pipeline(stages=[features, regression]).fit(few)
        if output and blob == "ip1":
            fitted.write().overwrite().save(output)
            fitted = PipelineModel.load(output)
        accuracies[blob] = evaluator.evaluate(fitted.transform(others))
    return accuracies


def main() -> None:
    parser = argparse.ArgumentParser(usage=__doc__.split("\n\n")[1].removeprefix("usage: "))
    parser.add_argument("--iterations", type=int, default=500)
    parser.add_argument("--rows", type=int, default=20000)
    parser.add_argument("--output")
    parser.add_argument("data", nargs="?", default="/usr/share/datasets/fashion-mnist", type=Path)
    options = parser.parse_args()
    spark = SparkSession.builder.appName("features").getOrCreate()
    rows = digits(spark, options.data, options.rows)
    model = learned(rows.where("label < 8"), options.iterations)
    accuracies = compare(model, rows.where("label >= 8"), options.output)
    print(
        f"Classes 8 and 9 from {LABELLED} labelled rows: accuracy {accuracies['ip1']:.4f} with the network's features,"
    )
    print(f"{accuracies['data']:.4f} with the pixels")
    spark.stop()


if __name__ == "__main__":
    main()
