"""Every solver of data/ trains and tests on Spark, from the kind of source that its network names."""

import re
from pathlib import Path

import caffeonspark
import cv2
import lmdb
import numpy as np
import pytest
from caffe.io import array_to_blobproto, array_to_datum
from places import local_spark

pytestmark = pytest.mark.spark

DATA = Path(__file__).resolve().parents[2] / "data"
ROWS = 6  # per source


@pytest.fixture(scope="module")
def spark(tmp_path_factory):
    with local_spark(tmp_path_factory.mktemp("warehouse")) as session:
        yield session


def pictures(shape):
    """Random pixels, and labels that CaffeNet with two classes has, too."""
    random = np.random.default_rng(5)
    return [(random.integers(0, 256, shape, dtype=np.uint8), i % 2) for i in range(ROWS)]


def write_lmdb(spark, path, shape):
    with lmdb.open(str(path), map_size=1 << 24) as store, store.begin(write=True) as transaction:
        for i, (pixels, label) in enumerate(pictures(shape)):
            transaction.put(b"%08d" % i, array_to_datum(pixels, label).SerializeToString())


def write_frame(spark, path, shape):
    """The columns of LMDB2DataFrame; the label is text, of which CoSData takes a number, too."""
    rows = [
        (str(i), str(label), *shape, False, bytearray(pixels.transpose(1, 2, 0).tobytes()))
        for i, (pixels, label) in enumerate(pictures(shape))
    ]
    columns = "id STRING, label STRING, channels INT, height INT, width INT, encoded BOOLEAN, data BINARY"
    spark.createDataFrame(rows, columns).write.parquet(str(path))


def write_sequence(spark, path, shape):
    """JPEG files, by tools.Binary2Sequence."""
    folder = path.with_suffix(".files")
    folder.mkdir()
    for i, (pixels, _) in enumerate(pictures(shape)):
        assert cv2.imwrite(str(folder / f"{i}.jpg"), pixels.transpose(1, 2, 0))
    (folder / "labels.txt").write_text("".join(f"{i}.jpg {label}\n" for i, (_, label) in enumerate(pictures(shape))))
    files = {"imageRoot": f"file:{folder}", "labelFile": f"file:{folder}/labels.txt"}
    conf = caffeonspark.Config(spark, **files)
    jvm = spark.sparkContext._jvm
    pairs = jvm.com.yahoo.ml.caffe.tools.Binary2Sequence(spark.sparkContext._jsc.sc(), conf._java).makeRDD()
    writable = jvm.java.lang.Class.forName("org.apache.hadoop.io.BytesWritable")
    output = jvm.java.lang.Class.forName("org.apache.hadoop.mapred.SequenceFileOutputFormat")
    tag = jvm.scala.reflect.ClassTag.apply(writable)
    java_pairs = jvm.org.apache.spark.api.java.JavaPairRDD.fromRDD(pairs, tag, tag)
    java_pairs.saveAsHadoopFile(f"file:{path}", writable, writable, output)


def copied(folder, solver):
    """The solver and its net with sources, mean files and weights in `folder`, small batches, and two iterations."""
    text = (DATA / f"{solver}_solver.prototxt").read_text()
    (net,) = re.findall(r'^net: "(.*)"', text, flags=re.M)
    tests = "test_iter: 1\ntest_interval: 2\n" if "test_iter" in text else ""
    text = re.sub(r"^(max_iter|test_iter|test_interval|display|snapshot): .*\n", "", text, flags=re.M)
    text += "max_iter: 2\ndisplay: 1\n" + tests
    layers = (DATA / net).read_text().replace('"file:', f'"file:{folder}/').replace('"mean.', f'"{folder}/mean.')
    (folder / net).write_text(re.sub(r"batch_size: \d+", "batch_size: 2", layers))
    path = folder / f"{solver}_solver.prototxt"
    path.write_text(text)
    return path, re.findall(rf'"file:({re.escape(str(folder))}/[^"]*)"', layers)


@pytest.mark.parametrize(
    ("solver", "write", "shape"),
    [
        ("lenet_memory", write_lmdb, (1, 28, 28)),
        ("lenet_dataframe", write_frame, (1, 28, 28)),
        ("lenet_cos", write_frame, (1, 28, 28)),
        ("cifar10_quick", write_lmdb, (3, 32, 32)),
        ("caffenet", write_sequence, (3, 227, 227)),
        ("bvlc_reference", write_sequence, (3, 227, 227)),
    ],
)
def test_trains_and_tests(spark, tmp_path, solver, write, shape):
    path, sources = copied(tmp_path, solver)
    for source in sorted(set(sources)):
        write(spark, Path(source), shape)
    mean = array_to_blobproto(np.full((1, *shape), 128.0))
    (tmp_path / "mean.binaryproto").write_bytes(mean.SerializeToString())
    conf = caffeonspark.Config(spark, conf=str(path), model=f"file:{tmp_path}/trained.caffemodel", clusterSize=1)
    cos, data = caffeonspark.CaffeOnSpark(spark), caffeonspark.DataSource(spark)
    cos.train(data.getSource(conf, True))
    curve = cos.trainingCurve.collect()
    assert [row.iteration for row in curve] == [1, 2]
    assert np.isfinite([row.loss for row in curve]).all()
    (model,) = (path for path in tmp_path.glob("trained.caffemodel*") if path.suffix != ".manifest")  # or HDF5
    assert model.stat().st_size > 100_000
    means = cos.test(data.getSource(conf, False))
    assert 0 <= means["accuracy"][0] <= 1 and np.isfinite(means["loss"][0])
