"""The Python API on Spark: two workers in one JVM learn the digits."""

from pathlib import Path

import caffeonspark
import pytest
from places import local_spark

pytestmark = pytest.mark.spark


@pytest.fixture(scope="module")
def outputs(tmp_path_factory):
    """The folder with event files and the report of the last training run."""
    return tmp_path_factory.mktemp("outputs")


@pytest.fixture(scope="module")
def spark(tmp_path_factory, outputs):
    with local_spark(
        tmp_path_factory.mktemp("warehouse"),
        spark_caffe_report=f"file:{outputs}/report.html",
        spark_caffe_tensorboard=f"file:{outputs}/events",
        spark_plugins="com.yahoo.ml.caffe.CaffePlugin",
    ) as session:
        yield session


@pytest.fixture
def digits(golden, tmp_path):
    """A solver of 100 iterations on the digits, which tests every 50."""
    folder: Path = golden("e2e_digits")
    net = folder / "lenet_digits.prototxt"
    net.write_text(net.read_text().replace('"digits_', f'"{folder}/digits_'))
    solver = tmp_path / "solver.prototxt"
    solver.write_text(
        f'net: "{net}"\nbase_lr: 0.01 momentum: 0.9 weight_decay: 0.0005 lr_policy: "fixed"\n'
        "max_iter: 100 test_iter: 4 test_interval: 50 display: 25 random_seed: 1 solver_mode: CPU\n"
    )
    return str(solver)


def test_train_test_and_features_agree(spark, digits, outputs, tmp_path):
    conf = caffeonspark.Config(
        spark, {"-conf": digits, "features": "accuracy,ip2"}, label="label", model=f"file:{tmp_path}/m", clusterSize=2
    )
    assert conf.features == ["accuracy", "ip2", "label"] and conf.clusterSize == 2 and conf.isFeature
    cos = caffeonspark.CaffeOnSpark(spark)
    source = caffeonspark.DataSource(spark)
    rounds = cos.trainWithValidation(source.getSource(conf, True), source.getSource(conf, False)).collect()
    assert len(rounds) == 3 and rounds[-1].accuracy[0] > 0.9
    assert (tmp_path / "m").exists()
    whole, *workers, memory = cos.trainingSummary
    assert memory.startswith("Memory of worker ") and memory.endswith(" of Java's heap")
    assert "Trained 100 iterations on 12800 images" in whole
    assert len(workers) == 2 and all(" 6400 images, waiting for data " in line for line in workers)

    assert [row.iteration for row in cos.trainingCurve.collect()] == [25, 50, 75, 100]
    check_events(outputs / "events", [row.accuracy[0] for row in rounds])
    check_report((outputs / "report.html").read_text())

    rows = cos.features(source.getSource(conf, False)).collect()
    assert len({row.SampleID for row in rows}) == len(rows) == 360
    means = cos.test(source.getSource(conf, False))
    assert list(means) == ["accuracy", "loss"]
    right = sum(max(range(10), key=row.ip2.__getitem__) == row.label[0] for row in rows)
    assert means["accuracy"][0] == pytest.approx(right / 360, abs=1e-6)


def check_events(folder, accuracies):
    """TensorBoard reads what the run wrote."""
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events = EventAccumulator(str(folder)).Reload()
    tags = events.Tags()["scalars"]
    assert {"train/loss", "train/learning_rate", "train/images_per_second", "validation/loss"} <= set(tags)
    losses = events.Scalars("train/loss")
    assert [point.step for point in losses] == [25, 50, 75, 100] and losses[-1].value < losses[0].value
    assert [point.value for point in events.Scalars("train/learning_rate")] == pytest.approx([0.01] * 4)
    assert [point.value for point in events.Scalars("validation/accuracy")] == pytest.approx(accuracies)


def check_report(text):
    """One page, nothing outside of it."""
    from html.parser import HTMLParser

    class Page(HTMLParser):
        def __init__(self):
            super().__init__()
            self.seen, self.open = [], []

        def handle_starttag(self, tag, attrs):
            self.seen.append(tag)
            assert not {"src", "href"} & {name for name, _ in attrs}
            if tag not in ("meta", "line"):
                self.open.append(tag)

        def handle_startendtag(self, tag, attrs):
            self.seen.append(tag)

        def handle_endtag(self, tag):
            assert self.open.pop() == tag

    page = Page()
    page.feed(text)
    assert page.open == [] and page.seen.count("svg") == 5 and page.seen.count("polyline") == 5
    assert (
        "100 iterations on 12800 images by 2 worker(s)" in text
        and "Validation: accuracy" in text
        and "lr_policy" in text
    )


def test_properties_are_attributes(spark, digits):
    conf = caffeonspark.Config(spark.sparkContext)
    conf.protoFile = digits
    conf.features = ["ip1"]
    conf.modelPath = "file:/m"
    assert (conf.features, conf.modelPath, conf.train_data_layer_id) == (["ip1", "label"], "file:/m", 0)
    with pytest.raises(AttributeError, match="no property modelpath"):
        conf.modelpath = "x"
    with pytest.raises(AttributeError):
        _ = conf.nothing
    assert "modelPath=file:/m" in repr(conf)


def test_programs_for_the_old_package_say_the_same(spark, digits):
    from com.yahoo.ml.caffe.CaffeOnSpark import CaffeOnSpark
    from com.yahoo.ml.caffe.Config import Config
    from com.yahoo.ml.caffe.DataSource import DataSource
    from com.yahoo.ml.caffe.RegisterContext import registerContext, registerSQLContext
    from pyspark.sql import SQLContext

    context = spark.sparkContext
    registerContext(context)
    registerSQLContext(SQLContext(context))
    words = f"-conf {digits} -model file:/m -features ip1,ip2 -label label -resize True -clusterSize 1".split()
    conf = Config(context, dict(zip(words[::2], words[1::2])))  # how they take spark.pythonargs apart
    assert conf.resize and conf.features == ["ip1", "ip2", "label"] and conf.modelPath == "file:/m"
    assert conf.solverParameter.getTestIter(0) == 4
    assert DataSource(context).getSource(conf, True).batchSize() == 64
    cos = CaffeOnSpark(context, SQLContext(context))
    assert isinstance(cos, caffeonspark.CaffeOnSpark) and conf.clusterSize == 1


def test_errors_are_python_errors_with_the_engines_message(spark, digits, tmp_path):
    with pytest.raises(ValueError, match="unknown flag -modle; did you mean -model"):
        caffeonspark.Config(spark, modle="x")
    conf = caffeonspark.Config(spark, conf=digits, model=f"file:{tmp_path}/none")
    source = caffeonspark.DataSource(spark).getSource(conf, False)
    with pytest.raises(OSError, match="the model file:.*none does not exist on host"):
        caffeonspark.CaffeOnSpark(spark).test(source)


def test_switches_lists_and_absent_values_become_flags():
    from caffeonspark._api import _tokens

    options = {"train": True, "test": False, "-conf": "a", "features": ["x", "y"], "label": None, "clusterSize": 2}
    assert _tokens(options) == ["-train", "-conf", "a", "-features", "x,y", "-clusterSize", "2"]


def test_the_jar_joins_those_that_are_there():
    class Builder:
        def __init__(self):
            self._options = {"spark.jars": "other.jar"}

        def config(self, key, value):
            self._options[key] = value
            return self

    jars = caffeonspark.with_jar(Builder())._options["spark.jars"].split(",")
    assert jars == ["other.jar", caffeonspark.jar_path()]
