"""The programs of examples/ that train by spark.ml, at small size."""

import importlib.util
import re
import sys

import caffeonspark  # noqa: F401 (before the session starts: it then has the jar)
import pytest
from places import DATA, FASHION_MNIST, ROOT, local_spark

pytestmark = pytest.mark.spark

EXAMPLES = ROOT / "examples"


@pytest.fixture
def run(tmp_path, monkeypatch, capfd):
    """run("folder/script.py", argument...): what the program prints. It finds this session, and stops it."""

    def call(name, *arguments):
        specification = importlib.util.spec_from_file_location("example", EXAMPLES / name)
        example = importlib.util.module_from_spec(specification)
        specification.loader.exec_module(example)
        monkeypatch.setattr(sys, "argv", [name, *map(str, arguments)])
        example.main()
        return capfd.readouterr().out

    with local_spark(tmp_path / "warehouse", spark_sql_shuffle_partitions="2"):
        yield call


def test_cifar10_from_jpeg_files(run, tmp_path):
    archive = DATA / "cifar10-jpeg.tar.gz"
    if not archive.exists():
        pytest.skip(f"CIFAR-10 as JPEG files is not there: {DATA} (CAFFE_TEST_DATA) has no cifar10-jpeg.tar.gz")
    printed = run(
        "cifar10/train.py", "--images", 1500, "--iterations", 120, "--output", f"file:{tmp_path}/out", archive
    )
    assert float(re.search(r"Test accuracy ([\d.]+)", printed).group(1)) > 0.3, printed
    assert next((tmp_path / "out" / "stages").glob("1_*/weights.caffemodel")).stat().st_size > 100_000


def test_features_for_mllib(run, tmp_path):
    folder = next((f for f in (FASHION_MNIST, DATA / "mnist") if (f / "train-images-idx3-ubyte.gz").exists()), None)
    if folder is None:
        pytest.skip("neither Debian's package dataset-fashion-mnist nor CAFFE_TEST_DATA/mnist is there")
    arguments = ("--rows", 2000, "--iterations", 60, "--output", f"file:{tmp_path}/out")
    printed = run("spark_ml/features.py", *arguments, folder)
    features, pixels = map(float, re.findall(r"([\d.]+) with the", printed))
    assert features > 0.9 and pixels > 0.8, printed
    assert list((tmp_path / "out" / "stages").glob("0_*/net.prototxt"))
