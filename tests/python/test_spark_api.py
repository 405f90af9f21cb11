"""The package caffeonspark: training, test and features on Spark, from Python, with a small LeNet on digits."""

import shutil
from pathlib import Path

import caffeonspark
import pytest
from caffeonspark import CaffeOnSpark, Config, DataSource

pytestmark = pytest.mark.spark
GOLDEN = Path(__file__).resolve().parents[1] / "golden"
TEST_RECORDS = 360


@pytest.fixture(scope="module")
def spark():
    from pyspark.sql import SparkSession

    session = (
        SparkSession.builder.master("local[2]")
        .config("spark.jars", caffeonspark.jar_path())
        .config("spark.ui.enabled", "false")
        .config("spark.driver.host", "127.0.0.1")
        .config("spark.driver.bindAddress", "127.0.0.1")
        .getOrCreate()
    )
    yield session
    session.stop()


@pytest.fixture(scope="module")
def digits(tmp_path_factory):
    """A folder with the stores, the net with absolute paths, and a solver."""
    folder = tmp_path_factory.mktemp("digits")
    shutil.copytree(GOLDEN / "e2e_digits", folder, dirs_exist_ok=True)
    net = folder / "lenet_digits.prototxt"
    net.write_text(net.read_text().replace('"digits_', f'"{folder}/digits_'))
    (folder / "solver.prototxt").write_text(
        'net: "lenet_digits.prototxt" test_iter: 4 test_interval: 100 max_iter: 200\n'
        'base_lr: 0.01 momentum: 0.9 weight_decay: 0.0005 lr_policy: "fixed" random_seed: 3 solver_mode: CPU\n'
    )
    return folder


@pytest.fixture(scope="module")
def config(spark, digits):
    return Config(
        spark.sparkContext,
        {
            "conf": digits / "solver.prototxt",
            "model": f"file:{digits}/lenet.caffemodel",
            "clusterSize": 2,
            "features": ["ip2", "accuracy"],
            "label": "label",
        },
    )


@pytest.fixture(scope="module")
def trained(spark, config):
    """The validation rounds, after training; and who trained."""
    caffe = CaffeOnSpark(spark.sparkContext)
    source = DataSource(spark.sparkContext)
    rounds = caffe.trainWithValidation(source.getSource(config, True), source.getSource(config, False))
    return caffe, rounds.collect()


def test_training_gives_a_row_for_each_validation_round(trained, digits):
    _, rounds = trained
    assert len(rounds) == 3  # iterations 0, 100 and 200
    assert rounds[0].accuracy[0] < 0.5 < 0.9 < rounds[-1].accuracy[0]
    assert (digits / "lenet.caffemodel").is_file()


def test_the_summary_tells_how_evenly_the_workers_were_used(trained):
    caffe, _ = trained
    whole, *workers = caffe.trainingSummary
    assert "200 iterations on 25600 images" in whole and "images/s" in whole
    assert len(workers) == 2 and all("12800 images" in line for line in workers)


def test_features_have_a_row_for_each_record_and_agree_with_the_test(spark, config, trained):
    caffe, _ = trained
    source = DataSource(spark.sparkContext).getSource(config, False)
    rows = caffe.features(source).collect()
    assert len({row.SampleID for row in rows}) == len(rows) == TEST_RECORDS
    right = sum(max(range(10), key=row.ip2.__getitem__) == int(row.label[0]) for row in rows)
    assert caffe.test(source)["accuracy"] == pytest.approx([right / TEST_RECORDS], abs=1e-6)


def test_the_model_is_one_that_caffe_reads(trained, digits):
    import caffe

    net = caffe.Net(str(digits / "lenet_digits.prototxt"), str(digits / "lenet.caffemodel"), caffe.TEST)
    accuracies = [float(net.forward()["accuracy"]) for _ in range(TEST_RECORDS // 90)]
    assert sum(accuracies) / len(accuracies) > 0.9


def test_properties_of_a_configuration_can_be_read_and_set(config):
    assert (config.clusterSize, config.features, config.label) == (2, ["ip2", "accuracy", "label"], "label")
    config.outputFormat = "parquet"
    assert config.outputFormat == "parquet"
    with pytest.raises(AttributeError, match="clusterSise"):
        config.clusterSise = 3
    with pytest.raises(AttributeError, match="clusterSise"):
        _ = config.clusterSise


def test_a_mistake_in_a_prototxt_is_a_python_error_with_its_place(spark, digits):
    broken = digits / "broken.prototxt"
    broken.write_text('net: "lenet_digits.prototxt"\nmomentun: 0.9\n')
    with pytest.raises(Exception, match=r"broken\.prototxt:2:9"):
        Config(spark.sparkContext, {"conf": broken})


def test_a_session_without_the_jar_says_so():
    class Package:
        CaffeOnSpark = "no class"

    class Context:
        class _jvm:  # noqa: N801
            class com:  # noqa: N801
                class yahoo:  # noqa: N801
                    class ml:  # noqa: N801
                        caffe = Package

    with pytest.raises(ImportError, match="--jars"):
        CaffeOnSpark(Context())
