"""A data format from outside, by examples/data_source_idx: from the command line, from Python, and through Spark."""

import subprocess
import sys
import sysconfig
from pathlib import Path

import caffe
import caffeonspark
import numpy as np
import pytest
from places import QUICK_JVM, SPARK_HOME
from pyspark.sql import SparkSession

EXAMPLE = Path(__file__).resolve().parents[2] / "examples" / "data_source_idx"
HEADERS = Path(caffe.__file__).parent / "include"
NET = """
name: "idx"
layer { name: "digits" type: "Data" top: "data" top: "label" include { phase: TRAIN } source_class: "libcaffe_data_idx.so"
  data_param { source: "train" batch_size: 10 } transform_param { scale: 0.00390625 } }
layer { name: "digits" type: "Data" top: "data" top: "label" include { phase: TEST } source_class: "libcaffe_data_idx.so"
  data_param { source: "test" batch_size: 10 } transform_param { scale: 0.00390625 } }
layer { name: "ip" type: "InnerProduct" bottom: "data" top: "ip"
  inner_product_param { num_output: 3 weight_filler { type: "xavier" } } }
layer { name: "loss" type: "SoftmaxWithLoss" bottom: "ip" bottom: "label" top: "loss" }
layer { name: "accuracy" type: "Accuracy" bottom: "ip" bottom: "label" top: "accuracy" include { phase: TEST } }
"""
SOLVER = 'net: "net.prototxt" base_lr: 0.05 momentum: 0.9 lr_policy: "fixed" max_iter: 40 display: 20 random_seed: 1'


def idx(array):
    extents = b"".join(int(n).to_bytes(4, "big") for n in array.shape)
    return bytes([0, 0, 8, array.ndim]) + extents + array.astype(np.uint8).tobytes()


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Pictures whose bright third is their class, as idx files, and the library."""
    folder = tmp_path_factory.mktemp("idx")
    rng = np.random.default_rng(1)
    for part, count in (("train", 60), ("test", 33)):
        labels = rng.integers(0, 3, count)
        images = rng.integers(0, 100, (count, 6, 6))
        for image, label in zip(images, labels):
            image[2 * label : 2 * label + 2] += 150
        (folder / f"{part}-images-idx3-ubyte").write_bytes(idx(images))
        (folder / f"{part}-labels-idx1-ubyte").write_bytes(idx(labels))
        np.save(folder / f"{part}.npy", images)
        np.save(folder / f"{part}_labels.npy", labels)
    (folder / "net.prototxt").write_text(NET)
    (folder / "solver.prototxt").write_text(SOLVER)
    compiler = sysconfig.get_config_var("CXX").split()[0]
    subprocess.run(
        [compiler, "-std=c++17", "-O2", "-shared", "-fPIC", "-I", HEADERS, EXAMPLE / "idx_source.cpp"]
        + ["-o", folder / "libcaffe_data_idx.so"],
        check=True,
        timeout=120,
    )
    return folder


def test_commands_and_python_read_it(folder, monkeypatch):
    monkeypatch.chdir(folder)
    net = caffe.Net("net.prototxt", caffe.TEST)
    net.forward()
    np.testing.assert_allclose(net.blobs["data"].data[:, 0] * 256, np.load("test.npy")[:10], atol=1e-3)
    assert net.blobs["label"].data.tolist() == np.load("test_labels.npy")[:10].tolist()
    run = subprocess.run(
        [Path(sys.executable).parent / "caffe", "train", "-solver", "solver.prototxt"],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert run.returncode == 0, run.stderr
    command = [Path(sys.executable).parent / "compute_image_mean", "train", "-backend", "libcaffe_data_idx.so"]
    run = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True)
    assert f"{np.load('train.npy').mean():.3f}"[:5] in run.stdout + run.stderr
    (folder / "other.prototxt").write_text(NET.replace("data_idx", "data_other"))
    with pytest.raises(
        caffe.CaffeError, match="layer digits .Data.. there is no libcaffe_data_other.so in ., the system's folders"
    ):
        caffe.Net("other.prototxt", caffe.TEST)
    (folder / "scala.prototxt").write_text(NET.replace("libcaffe_data_idx.so", "examples.CsvImages"))
    with pytest.raises(caffe.CaffeError, match="source_class examples.CsvImages is no library"):
        caffe.Net("scala.prototxt", caffe.TEST)
    (folder / "missing.prototxt").write_text(NET.replace('"test"', '"nowhere"'))
    with pytest.raises(
        caffe.CaffeError, match="cannot open nowhere as libcaffe_data_idx.so: cannot open nowhere-images-idx3-ubyte"
    ):
        caffe.Net("missing.prototxt", caffe.TEST)


@pytest.fixture
def csv_source(folder):
    """The jar of examples/data_source_csv, built with the compiler that Spark brings along."""
    spark_jars = SPARK_HOME / "jars"
    jar = folder / "csv-images.jar"
    subprocess.run(
        ["java", "-cp", f"{spark_jars}/*", "scala.tools.nsc.Main", "-cp", f"{spark_jars}/*:{caffeonspark.jar_path()}"]
        + ["-d", jar, EXAMPLE.parent / "data_source_csv" / "CsvImages.scala"],
        check=True,
        timeout=180,
    )
    return jar


@pytest.mark.spark
def test_executors_load_the_library_that_was_sent(folder, csv_source, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)  # the library is not in the working folder
    for name in ("net.prototxt", "solver.prototxt"):
        text = (folder / name).read_text()
        (tmp_path / name).write_text(text.replace('source: "', f'source: "{folder}/'))
    builder = SparkSession.builder.master("local-cluster[2,1,1024]").appName("test").config("spark.ui.enabled", "false")
    builder = builder.config("spark.driver.host", "127.0.0.1").config("spark.executor.memory", "512m")
    builder = builder.config("spark.executor.extraJavaOptions", QUICK_JVM)
    spark = builder.config("spark.files", str(folder / "libcaffe_data_idx.so"))
    spark = spark.config("spark.jars", f"{caffeonspark.jar_path()},{csv_source}").getOrCreate()
    try:
        model = f"file:{tmp_path}/idx.caffemodel"
        config = caffeonspark.Config(
            spark, conf=str(tmp_path / "solver.prototxt"), model=model, clusterSize=2, features="data,ip", label="label"
        )
        cos = caffeonspark.CaffeOnSpark(spark)
        cos.train(caffeonspark.DataSource(spark).getSource(config, True))
        assert (tmp_path / "idx.caffemodel").stat().st_size > 0
        assert all(np.isfinite(row.loss) for row in cos.trainingCurve.collect())
        check_answers(cos, caffeonspark.DataSource(spark).getSource(config, False), folder)
    finally:
        spark.stop()


def check_answers(cos, source, folder):
    """Every record has its row, and the mean accuracy is that of the rows."""
    images, labels = np.load(folder / "test.npy"), np.load(folder / "test_labels.npy")
    rows = sorted(cos.features(source).collect(), key=lambda row: int(row.SampleID))
    assert [int(row.SampleID) for row in rows] == list(range(len(images)))
    np.testing.assert_allclose([row.data for row in rows], images.reshape(len(images), -1) / 256, rtol=1e-5)
    assert [row.label[0] for row in rows] == labels.tolist()
    right = np.mean([np.argmax(row.ip) for row in rows] == labels)
    assert cos.test(source)["accuracy"][0] == pytest.approx(right, abs=1e-6)
