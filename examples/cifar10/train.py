"""Trains CIFAR10-quick on a folder of JPEG files, with stages of MLlib around the network.

usage: train.py [--iterations N] [--images N] [--workers N] [--output FOLDER] DATA

DATA has the files train/CLASS/NAME.jpg and test/CLASS/NAME.jpg: any folder of Hadoop's, or a local .tar.gz of one.
--images takes only so many for training, and a fifth of that for the test; the trained pipeline goes to FOLDER.
"""

import argparse
import tarfile
import tempfile
import time
from pathlib import Path

from caffeonspark.ml import CaffeEstimator
from pyspark.ml import Pipeline, PipelineModel
from pyspark.ml.evaluation import MulticlassClassificationEvaluator
from pyspark.ml.feature import IndexToString, StringIndexer
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql.functions import regexp_extract, xxhash64

HERE = Path(__file__).resolve().parent


def unpacked(archive: str, folder: str, images: int | None) -> str:
    """Unpacks the archive's first pictures of each class. Names are numbers: NNNN.jpg."""
    limits = {"train": images, "test": images and images // 5}
    with tarfile.open(archive) as tar:
        for member in tar:
            part, name = member.name.removeprefix("./").split("/")[0], member.name.split("/")[-1]
            limit = limits.get(part)
            if name.endswith(".jpg") and (limit is None or int(name.removesuffix(".jpg")) < limit // 10):
                target = Path(folder, part, Path(member.name).parent.name, name)
                target.parent.mkdir(parents=True, exist_ok=True)
                target.write_bytes(tar.extractfile(member).read())
    return f"file:{folder}"


def pictures(spark: SparkSession, folder: str, images: int | None) -> DataFrame:
    """path, content (a JPEG file) and class, which is the name of the file's folder."""
    files = spark.read.format("binaryFile").load(f"{folder}/*/*.jpg").select("path", "content")
    found = files.withColumn("class", regexp_extract("path", "/([^/]+)/[^/]+$", 1))
    return found.orderBy(xxhash64("path")).limit(images) if images else found


def pipeline(workers: int, iterations: int | None) -> Pipeline:
    """Names of classes to numbers, the network, and its numbers back to names."""
    labels = StringIndexer(inputCol="class", outputCol="label", stringOrderType="alphabetAsc")
    net = CaffeEstimator(
        solver=str(HERE / "cifar10_quick_solver.prototxt"), featuresCol="content", outputs=["ip2"], numWorkers=workers
    )
    if iterations:
        net.setMaxIter(iterations)
    names = IndexToString(inputCol="prediction", outputCol="predicted", labels=CLASSES)
    return Pipeline(stages=[labels, net, names])


CLASSES = ["airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck"]


def run(spark: SparkSession, options: argparse.Namespace, folder: str) -> float:
    """Accuracy on the test pictures."""
    # Many small files: without this Spark would make a task of every few dozen.
    spark.conf.set("spark.sql.files.openCostInBytes", "16k")
    training = pictures(spark, f"{folder}/train", options.images)
    held = pictures(spark, f"{folder}/test", options.images and options.images // 5)
    started = time.monotonic()
    fitted = pipeline(options.workers, options.iterations).fit(training)
    print(f"Training took {time.monotonic() - started:.1f} s")
    print(fitted.stages[1].summary)
    if options.output:
        fitted.write().overwrite().save(options.output)
        fitted = PipelineModel.load(options.output)
    answered = fitted.transform(held).select("path", "class", "label", "predicted", "prediction").cache()
    answered.select("class", "predicted").show(5)
    return MulticlassClassificationEvaluator(metricName="accuracy").evaluate(answered)


def main() -> None:
    parser = argparse.ArgumentParser(usage=__doc__.split("\n\n")[1].removeprefix("usage: "))
    parser.add_argument("--iterations", type=int)
    parser.add_argument("--images", type=int)
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--output")
    parser.add_argument("data")
    options = parser.parse_args()
    spark = SparkSession.builder.appName("CIFAR-10").getOrCreate()
    with tempfile.TemporaryDirectory() as scratch:
        archive = options.data.endswith((".tar.gz", ".tgz"))
        folder = unpacked(options.data, scratch, options.images) if archive else options.data
        print(f"Test accuracy {run(spark, options, folder):.4f}")
    spark.stop()


if __name__ == "__main__":
    main()
