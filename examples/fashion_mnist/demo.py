"""Trains LeNet on Fashion-MNIST with Caffe on Spark, and uses what it learned in MLlib. Started by run.sh.

usage: spark-submit --jars caffeonspark.jar demo.py SOLVER OUTPUT-FOLDER WORKERS
"""

import sys
import time
from pathlib import Path

from caffeonspark import CaffeOnSpark, Config, DataSource
from pyspark.ml.classification import LogisticRegression
from pyspark.ml.evaluation import MulticlassClassificationEvaluator
from pyspark.ml.functions import array_to_vector
from pyspark.sql import SparkSession
from pyspark.sql.functions import col


def train(spark, config):
    """The validation rounds, and the lines that say how fast it was."""
    caffe = CaffeOnSpark(spark)
    source = DataSource(spark)
    rounds = caffe.trainWithValidation(source.getSource(config, True), source.getSource(config, False))
    return [row.accuracy[0] for row in rounds.collect()], caffe.trainingSummary


def test(spark, config):
    """Accuracy over every image of the test set."""
    source = DataSource(spark).getSource(config, False)
    return CaffeOnSpark(spark).test(source)["accuracy"][0]


def extract(spark, config, path):
    """Writes the outputs of layer ip1 for the test set, and reads them back."""
    source = DataSource(spark).getSource(config, False)
    CaffeOnSpark(spark).features(source).write.mode("overwrite").parquet(path)
    return spark.read.parquet(path)


def regression_accuracy(features):
    """MLlib's logistic regression on four fifths of the features, scored on the others."""
    data = features.select(array_to_vector("ip1").alias("features"), col("label")[0].cast("double").alias("label"))
    training, held_out = data.randomSplit([0.8, 0.2], seed=1)
    model = LogisticRegression(maxIter=30, regParam=0.01).fit(training.cache())
    return MulticlassClassificationEvaluator(metricName="accuracy").evaluate(model.transform(held_out))


def main(solver, output, workers):
    spark = SparkSession.builder.appName("Fashion-MNIST").getOrCreate()
    spark.sparkContext.setLogLevel("ERROR")
    folder = Path(output).resolve()
    config = Config(
        spark,
        conf=solver,
        model=f"file:{folder}/lenet.caffemodel",
        clusterSize=workers,
        connection="ethernet",
        features="ip1",
        label="label",
    )
    started = time.monotonic()
    rounds, speed = train(spark, config)
    trained = time.monotonic()
    accuracy = test(spark, config)
    features = extract(spark, config, f"file:{folder}/features.parquet")
    rows = features.count()
    regression = regression_accuracy(features)

    lines = [
        f"LeNet on Fashion-MNIST, {workers} workers",
        f"Training            {trained - started:.1f} s",
        *(f"                    {line.strip()}" for line in speed),
        f"Validation          {', '.join(f'{value:.4f}' for value in rounds)}",
        f"Test accuracy       {accuracy:.4f} on all 10,000 images",
        f"Features            {rows} rows of ip1 and label",
        f"Logistic regression {regression:.4f} on a fifth of them, fitted to the others",
        f"Model               {folder}/lenet.caffemodel (snapshots lenet_iter_*.caffemodel beside it)",
        f"Features            {folder}/features.parquet",
    ]
    print("\n" + "\n".join(lines))
    spark.stop()


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], int(sys.argv[3]))
