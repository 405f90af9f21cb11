"""Captions for pictures, end to end on Spark: a small LRCN learns them and says them.

usage: caption.py FOLDER [--workers N] [--solver FILE]

FOLDER has {train,test}.json, captions in COCO's form, and the pictures in {train,test}/; easy_vqa_coco.py makes it.
The program leaves there the vocabulary, the model, and `captions`: Parquet with id, the caption that was said and the
expected one. It prints how many are the same, word for word.
"""

import argparse
import os
import shutil
from pathlib import Path

import caffeonspark
from caffeonspark.ml import CaffeCaptioner, CaffeModel
from caffeonspark.tools import Conversions, Vocab
from pyspark.ml import Pipeline
from pyspark.sql import DataFrame, SparkSession

HERE = Path(__file__).resolve().parent
WORDS = 5  # in a sentence of the network, with its end


def prepare(spark: SparkSession, folder: Path, partitions: int) -> None:
    """Captions as numbers, with the pictures: what the network reads."""
    conversions, vocab = Conversions(spark), Vocab(spark)
    for part in ("train", "test"):
        captions = conversions.Coco2ImageCaptionFile(f"file:{folder}/{part}.json", partitions)
        if part == "train":
            vocab.genFromData(captions, "caption")
            vocab.save(f"file:{folder}/vocab.txt")
        rows = conversions.ImageCaption2Embedding(f"file:{folder}/{part}", captions, vocab, WORDS)
        rows.write.mode("overwrite").parquet(f"file:{folder}/{part}_embedding")


def train(spark: SparkSession, folder: Path, solver: Path, workers: int) -> None:
    """Trains; the model goes to lrcn.caffemodel."""
    config = caffeonspark.Config(
        spark, conf=str(solver), model=f"file:{folder}/lrcn.caffemodel", train=True, clusterSize=workers
    )
    source = caffeonspark.DataSource(spark).getSource(config, True)
    caffeonspark.CaffeOnSpark(spark).train(source)


def captioner(folder: Path) -> Pipeline:
    """From a column `picture` with image files to a column `caption`."""
    weights = f"file:{folder}/lrcn.caffemodel"
    features = CaffeModel.fromCaffe(
        str(HERE / "lrcn_net.prototxt"), weights, inputs=["data=picture"], outputs=["fc=features"]
    )
    sentences = CaffeCaptioner.fromCaffe(str(HERE / "lrcn_word.prototxt"), weights, f"file:{folder}/vocab.txt")
    return Pipeline(stages=[features, sentences.setFeaturesCol("features").setMaxLength(WORDS)])


def say(spark: SparkSession, folder: Path) -> DataFrame:
    """The test pictures with their captions."""
    pictures = Conversions(spark).Coco2ImageCaptionFile(f"file:{folder}/test.json", 2)
    rows = Conversions(spark).Image2Embedding(f"file:{folder}/test", pictures).selectExpr("id", "data.image AS picture")
    said = captioner(folder).fit(rows).transform(rows)
    return said.join(pictures.selectExpr("CAST(id AS STRING) AS id", "caption AS expected"), "id")


def main() -> None:
    parser = argparse.ArgumentParser(usage=__doc__.split("\n\n")[1].removeprefix("usage: "))
    parser.add_argument("folder", type=Path)
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--solver", type=Path, default=HERE / "lrcn_solver.prototxt")
    options = parser.parse_args()
    folder = options.folder.resolve()
    os.chdir(folder)  # the network names its data relative to it
    spark = SparkSession.builder.appName("captions").getOrCreate()
    prepare(spark, folder, 2)
    train(spark, folder, options.solver, options.workers)
    said = say(spark, folder).select("id", "caption", "expected")
    shutil.rmtree(folder / "captions", ignore_errors=True)
    said.write.parquet(f"file:{folder}/captions")
    said = spark.read.parquet(f"file:{folder}/captions")
    said.show(5, truncate=False)
    print(f"{said.where('caption = expected').count()} of {said.count()} captions are right, word for word")
    spark.stop()


if __name__ == "__main__":
    main()
