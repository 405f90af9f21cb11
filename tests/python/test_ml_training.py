"""CaffeEstimator of Python, on one session that was started after `import caffeonspark`, and nothing more."""

import shutil
import subprocess

import caffe
import cv2
import numpy as np
import pytest
from caffe import layers as L  # noqa: N812
from caffeonspark import CaffeError
from caffeonspark._progress import _Display
from caffeonspark.ml import CaffeEstimator, CaffeModel
from places import local_spark
from processors import are_bf16, needs_bf16
from pyspark.ml import Pipeline, PipelineModel
from pyspark.ml.evaluation import MulticlassClassificationEvaluator
from pyspark.ml.feature import StandardScaler
from pyspark.ml.functions import array_to_vector
from pyspark.ml.tuning import CrossValidator, CrossValidatorModel, ParamGridBuilder, TrainValidationSplit

pytestmark = pytest.mark.spark

# Learns from eight numbers whether their sum is positive.
SUMS = """
layer { name: "in" type: "MemoryData" top: "x" top: "y" memory_data_param { batch_size: 10 channels: 8 height: 1 width: 1 } }
layer { name: "ip" type: "InnerProduct" bottom: "x" top: "ip"
  inner_product_param { num_output: 2 weight_filler { type: "xavier" } } }
layer { name: "loss" type: "SoftmaxWithLoss" bottom: "ip" bottom: "y" top: "loss" }
layer { name: "right" type: "Accuracy" bottom: "ip" bottom: "y" top: "right" include { phase: TEST } }
"""
SOLVER = 'base_lr: 0.05 momentum: 0.9 weight_decay: 0.01 lr_policy: "fixed" random_seed: 7'
ROWS = 120


@pytest.fixture(scope="module")
def spark(tmp_path_factory):
    report = f"file:{tmp_path_factory.mktemp('report')}/report.html"
    with local_spark(
        tmp_path_factory.mktemp("warehouse"), spark_sql_shuffle_partitions="2", spark_caffe_report=report
    ) as session:
        yield session


@pytest.fixture(scope="module")
def numbers():
    """(features, labels)"""
    features = np.random.default_rng(5).normal(size=(ROWS, 8)).astype(np.float32)
    return features, (features.sum(axis=1) > 0).astype(float)


@pytest.fixture(scope="module")
def frame(spark, numbers):
    rows = [(i, x.tolist(), float(y)) for i, (x, y) in enumerate(zip(*numbers, strict=True))]
    return spark.createDataFrame(rows, "id INT, features ARRAY<FLOAT>, label DOUBLE").coalesce(1).cache()


@pytest.fixture
def estimator(spark):
    return CaffeEstimator(network=SUMS, solver=SOLVER, maxIter=40)


def accuracy(frame):
    return MulticlassClassificationEvaluator(metricName="accuracy").evaluate(frame)


def weights_of(model, tmp_path):
    """The network's two classes as (weights, bias), read by caffe.Net."""
    (tmp_path / "net.prototxt").write_text(model.netText)
    (tmp_path / "net.caffemodel").write_bytes(model.weights)
    net = caffe.Net(str(tmp_path / "net.prototxt"), str(tmp_path / "net.caffemodel"), caffe.TEST)
    return [blob.data.copy() for blob in net.params["ip"]]


def regression(numbers, weights, bias, steps, batch=10, rate=0.05, momentum=0.9, decay=0.01):
    """What Caffe's solver does to a softmax regression, in numpy: rows in their order, again from the start at the end."""
    features, labels = numbers
    speeds = np.zeros_like(weights), np.zeros_like(bias)
    for step in range(steps):
        rows = np.arange(step * batch, (step + 1) * batch) % ROWS
        scores = features[rows] @ weights.T + bias
        probabilities = np.exp(scores) / np.exp(scores).sum(axis=1, keepdims=True)
        probabilities[np.arange(batch), labels[rows].astype(int)] -= 1
        gradients = (
            probabilities.T @ features[rows] / batch + decay * weights,
            probabilities.mean(axis=0) + decay * bias,
        )
        speeds = tuple(momentum * speed + rate * gradient for speed, gradient in zip(speeds, gradients, strict=True))
        weights, bias = weights - speeds[0], bias - speeds[1]
    return weights, bias


def test_it_trains_as_the_same_rule_in_numpy_does(numbers, frame, estimator, tmp_path):
    start = estimator.copy({estimator.maxIter: 1, estimator.baseLr: 1e-30}).fit(frame)
    (tmp_path / "start.caffemodel").write_bytes(start.weights)
    estimator.setInitialWeights(f"file:{tmp_path}/start.caffemodel").setMaxIter(30).setShuffle(False)
    expected = regression(numbers, *weights_of(start, tmp_path), steps=30)
    for got, wanted in zip(weights_of(estimator.fit(frame), tmp_path), expected, strict=True):
        np.testing.assert_allclose(got, wanted, rtol=0, atol=1e-5)


def test_the_model_answers_and_tells_how_it_was_trained(frame, estimator):
    estimator.setValidation(frame).setValidationInterval(20).setParams(base_lr=0.1, display=10)
    assert estimator.getBaseLr() == 0.1
    model = estimator.fit(frame)
    answered = model.transform(frame.drop("label"))
    assert answered.columns == ["id", "features", "prob", "prediction"] and model.uid == estimator.uid
    curve = model.summary.curve.collect()
    assert [row.iteration for row in curve] == [10, 20, 30, 40] and curve[-1].loss < curve[0].loss
    rounds = model.summary.validation.collect()
    assert [row.iteration for row in rounds] == [0, 20, 40]
    assert abs(rounds[-1].right[0] - accuracy(model.transform(frame))) < 1e-6
    assert model.summary.iterations == 40 and "Trained 40 iterations" in str(model.summary)


@needs_bf16
def test_it_trains_in_bf16_and_so_the_model_answers(frame, estimator, tmp_path):
    plain = estimator.fit(frame)
    assert plain.getPrecision() == "f32"
    by_param = estimator.copy().setPrecision("bf16").fit(frame)
    by_solver = CaffeEstimator(network=SUMS, solver=SOLVER + " precision: BF16", maxIter=40).fit(frame)
    for model in (by_param, by_solver):
        assert model.getPrecision() == "bf16"
        weights, _ = weights_of(model, tmp_path)
        np.testing.assert_allclose(weights, weights_of(plain, tmp_path)[0], rtol=0, atol=2e-2)
        assert (weights != weights_of(plain, tmp_path)[0]).any()
        assert not are_bf16(weights).all()
        assert accuracy(model.transform(frame)) > 0.9


def test_training_stops_early_by_a_column_that_marks_rows_for_validation(frame, estimator):
    marked = frame.selectExpr("*", "id % 3 = 0 AS held")
    estimator.setValidationIndicatorCol("held").setMonitor("right").setEarlyStoppingRounds(3).setValidationInterval(5)
    model = estimator.setMaxIter(100000).fit(marked)
    rounds = [row.right[0] for row in model.summary.validation.collect()]
    assert model.summary.iterations < 100000
    assert abs(accuracy(model.transform(marked.where("held"))) - max(rounds)) < 1e-6


def test_pipelines_with_stages_of_mllib_are_saved_and_loaded_before_and_after_training(frame, estimator, tmp_path):
    vectors = frame.select("id", "label", array_to_vector("features").alias("raw"))
    scaler = StandardScaler(inputCol="raw", outputCol="features", withMean=True)
    Pipeline(stages=[scaler, estimator]).write().save(f"file:{tmp_path}/pipeline")
    pipeline = Pipeline.load(f"file:{tmp_path}/pipeline")
    assert isinstance(pipeline.getStages()[1], CaffeEstimator)
    fitted = pipeline.fit(vectors)
    assert accuracy(fitted.transform(vectors)) > 0.85
    fitted.write().save(f"file:{tmp_path}/fitted")
    loaded = PipelineModel.load(f"file:{tmp_path}/fitted")
    assert isinstance(loaded.stages[1], CaffeModel) and loaded.stages[1].weights == fitted.stages[1].weights
    with pytest.raises(CaffeError, match="no training summary"):
        _ = loaded.stages[1].summary
    estimator.save(f"file:{tmp_path}/estimator")
    again = CaffeEstimator.load(f"file:{tmp_path}/estimator")
    assert again.getMaxIter() == 40 and again.getNetwork() == estimator.getNetwork()


def test_cross_validation_finds_the_better_learning_rate(frame, estimator, tmp_path):
    grid = ParamGridBuilder().addGrid(estimator.baseLr, [1e-7, 0.05]).build()
    evaluator = MulticlassClassificationEvaluator(metricName="accuracy")
    pipeline = Pipeline(stages=[estimator])
    validator = CrossValidator(
        estimator=pipeline, estimatorParamMaps=grid, evaluator=evaluator, numFolds=2, seed=3, parallelism=2
    )
    found = validator.fit(frame)
    assert found.avgMetrics[1] > found.avgMetrics[0] + 0.2 and accuracy(found.transform(frame)) > 0.85
    found.write().save(f"file:{tmp_path}/validated")
    loaded = CrossValidatorModel.load(f"file:{tmp_path}/validated")
    assert accuracy(loaded.transform(frame)) == accuracy(found.transform(frame))
    split = TrainValidationSplit(
        estimator=estimator, estimatorParamMaps=grid, evaluator=evaluator, trainRatio=0.7, seed=3
    )
    metrics = split.fit(frame).validationMetrics
    assert metrics[1] > metrics[0] + 0.2


def test_a_network_of_netspec_and_a_solver_message(frame, estimator, tmp_path):
    spec = caffe.NetSpec()
    spec.x, spec.y = L.MemoryData(ntop=2, batch_size=10, channels=8, height=1, width=1)
    spec.ip = L.InnerProduct(spec.x, num_output=2, weight_filler={"type": "xavier"})
    spec.loss = L.SoftmaxWithLoss(spec.ip, spec.y)
    solver = caffe.proto.caffe_pb2.SolverParameter(base_lr=0.05, momentum=0.9, weight_decay=0.01, lr_policy="fixed")
    solver.random_seed = 7
    made = CaffeEstimator(network=spec.to_proto(), solver=solver, maxIter=5).fit(frame)
    assert made.weights and [row.prediction for row in made.transform(frame.limit(3)).collect()]
    same = estimator.setMaxIter(5).fit(frame)
    for got, wanted in zip(weights_of(made, tmp_path), weights_of(same, tmp_path), strict=True):
        np.testing.assert_array_equal(got, wanted)


def test_rows_sorted_by_label_are_shuffled(frame, estimator):
    assert accuracy(estimator.fit(frame.sort("label")).transform(frame)) > 0.85


def browser():
    """A command that opens a page without a window."""
    for name in ("chromium-headless-shell", "chromium", "google-chrome"):
        if path := shutil.which(name):
            return [path, "--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars"]
    pytest.skip("no Chromium is installed to look at the report with (Debian's package chromium-headless-shell)")


def test_a_browser_shows_the_report_without_asking_anyone_for_anything(spark, frame, estimator, tmp_path):
    command = [*browser(), f"--user-data-dir={tmp_path}/profile", "--host-resolver-rules=MAP * ~NOTFOUND"]
    estimator.setValidation(frame).setValidationInterval(10).fit(frame)
    page = spark.conf.get("spark.caffe.report")
    shot = tmp_path / "report.png"
    look = [*command, "--window-size=1000,1400", f"--screenshot={shot}", page]
    subprocess.run(look, check=True, capture_output=True, timeout=90)
    read = subprocess.run([*command, "--dump-dom", page], check=True, capture_output=True, text=True, timeout=90).stdout
    assert "<h2>Workers</h2>" in read and read.count("<polyline") >= 5
    assert "src=" not in read and "<link" not in read and "@import" not in read
    pixels = cv2.imread(str(shot)).astype(int)
    curves = (abs(pixels - [0xA4, 0x62, 0x0B]).sum(axis=2) < 60).sum()
    assert pixels.shape == (1400, 1000, 3) and curves > 500 and pixels.std() > 5


def test_mistakes_are_python_errors_in_one_sentence(frame, estimator, tmp_path):
    with pytest.raises(ValueError, match="column pixels does not exist"):
        estimator.copy({estimator.featuresCol: "pixels"}).fit(frame)
    with pytest.raises(ValueError, match="the training data has no rows"):
        estimator.fit(frame.limit(0))
    with pytest.raises(ValueError, match="there is no network; set network"):
        CaffeEstimator(maxIter=1).fit(frame)
    with pytest.raises(CaffeError, match=r"master local\[2\] runs only 2"):
        estimator.copy({estimator.numWorkers: 3}).fit(frame)
    with pytest.raises(TypeError, match="no Param base_lrr"):
        CaffeEstimator(base_lrr=0.1)
    with pytest.raises(TypeError, match="not a int"):
        CaffeEstimator(network=3)
    with pytest.raises(FileNotFoundError, match="nothing.prototxt"):
        CaffeEstimator(network=str(tmp_path / "nothing.prototxt"))


def test_lines_of_training_become_what_a_notebook_shows():
    shown = _Display()
    assert shown.bundle()["text/plain"] == "Iteration 0 of 1: starting"
    lines = [
        "Iteration 0, Testing net (#0)",
        "    Test net output #0: accuracy = 0.5",
        "    Test net output #1: loss = 2",
    ]
    for line in [*lines, "Iteration 20 of 60, loss = <1>, lr = 0.1, 5.0 images/s, ETA 0:00:09"]:
        shown.read(line)
    bundle = shown.bundle()
    assert bundle["text/plain"].splitlines() == [
        "Iteration 20 of 60: loss = <1>, lr = 0.1, 5.0 images/s, ETA 0:00:09",
        "validation at 0: accuracy = 0.5, loss = 2",
    ]
    assert 'value="20" max="60"' in bundle["text/html"] and "&lt;1&gt;" in bundle["text/html"]
