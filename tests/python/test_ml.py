"""CaffeModel and CaffeEstimator of Python, on one session that was started after `import caffeonspark`, and nothing more."""

from pathlib import Path

import caffe
import numpy as np
import pytest
from caffeonspark import CaffeError, register_sql
from caffeonspark.ml import CaffeModel
from places import local_spark
from processors import needs_bf16
from pyspark.ml import Pipeline, PipelineModel
from pyspark.ml.classification import LogisticRegression
from pyspark.ml.functions import array_to_vector

pytestmark = pytest.mark.spark

DEPLOY = """
name: "small"
layer { name: "in" type: "Input" top: "data" input_param { shape { dim: 10 dim: 3 dim: 8 dim: 8 } } }
layer { name: "conv" type: "Convolution" bottom: "data" top: "conv"
  convolution_param { num_output: 8 kernel_size: 3 weight_filler { type: "xavier" } bias_filler { value: 0.1 } } }
layer { name: "relu" type: "ReLU" bottom: "conv" top: "conv" }
layer { name: "ip" type: "InnerProduct" bottom: "conv" top: "ip"
  inner_product_param { num_output: 4 weight_filler { type: "xavier" } } }
layer { name: "prob" type: "Softmax" bottom: "ip" top: "prob" }
"""
ROWS = 23


@pytest.fixture(scope="module")
def spark(tmp_path_factory):
    with local_spark(tmp_path_factory.mktemp("warehouse"), spark_sql_shuffle_partitions="2") as session:
        yield session


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """(prototxt, caffemodel, pictures, what caffe.Net answers to them)"""
    folder = tmp_path_factory.mktemp("small")
    (folder / "deploy.prototxt").write_text(DEPLOY)
    net = caffe.Net(str(folder / "deploy.prototxt"), caffe.TEST)
    net.save(str(folder / "small.caffemodel"))
    pictures = np.random.default_rng(1).uniform(-1, 1, (ROWS, 3, 8, 8)).astype(np.float32)
    net.blobs["data"].reshape(*pictures.shape)
    net.reshape()
    net.blobs["data"].data[...] = pictures
    net.forward()
    answers = {name: net.blobs[name].data.reshape(ROWS, -1).copy() for name in ("conv", "ip", "prob")}
    return str(folder / "deploy.prototxt"), str(folder / "small.caffemodel"), pictures, answers


@pytest.fixture
def frame(spark, files):
    rows = [(i, picture.ravel().tolist()) for i, picture in enumerate(files[2])]
    return spark.createDataFrame(rows, "id INT, features ARRAY<FLOAT>").coalesce(1)


@pytest.fixture
def model(spark, files):
    return CaffeModel.fromCaffe(files[0], f"file:{files[1]}", batchSize=ROWS)


def column(frame, name):
    return np.array([row[name] for row in frame.collect()], dtype=np.float32)


def test_it_answers_what_a_net_of_caffe_answers(files, frame, model):
    answered = model.setOutputs(["prob", "conv", "ip=scores"]).setPredictionCol("best").transform(frame)
    assert answered.columns == ["id", "features", "prob", "conv", "scores", "best"]
    assert column(answered, "id").tolist() == list(range(ROWS))
    for name, blob in (("conv", "conv"), ("scores", "ip"), ("prob", "prob")):
        np.testing.assert_allclose(column(answered, name), files[3][blob], rtol=0, atol=1e-6)
    assert column(answered, "best").tolist() == files[3]["prob"].argmax(axis=1).tolist()


def test_batches_partitions_and_vectors_change_nothing(spark, files, frame, model):
    vectors = frame.select("id", array_to_vector("features").alias("features"))
    answered = model.setBatchSize(4).setVectorOutput(True).transform(vectors.repartition(3)).sort("id")
    got = np.array([row.prob.toArray() for row in answered.collect()])
    np.testing.assert_allclose(got, files[3]["prob"], rtol=0, atol=1e-6)


def test_params_can_be_set_and_read(model):
    assert model.inputNames == ["data"] and model.getBatchSize() == ROWS
    assert model.setHandleInvalid("keep").getHandleInvalid() == "keep"
    assert model.weights[:1] and 'name: "small"' in model.netText
    copied = model.copy({model.batchSize: 3})
    assert (copied.uid, copied.getBatchSize(), model.getBatchSize()) == (model.uid, 3, ROWS)


def test_it_is_a_stage_of_pipelines_that_are_saved_and_loaded(files, frame, model, tmp_path):
    model.setOutputs(["conv=hidden"]).setVectorOutput(True)
    labelled = frame.selectExpr("id", "features", "CAST(id % 2 AS DOUBLE) AS label")
    fitted = Pipeline(stages=[model, LogisticRegression(featuresCol="hidden", maxIter=5)]).fit(labelled)
    fitted.write().overwrite().save(f"file:{tmp_path}/pipeline")
    loaded = PipelineModel.load(f"file:{tmp_path}/pipeline")
    assert isinstance(loaded.stages[0], CaffeModel) and loaded.stages[0].uid == model.uid
    assert (
        column(loaded.transform(labelled), "prediction").tolist()
        == column(fitted.transform(labelled), "prediction").tolist()
    )
    model.write().save(f"file:{tmp_path}/model")
    again = CaffeModel.load(f"file:{tmp_path}/model")
    assert again.getOutputs() == ["conv=hidden"] and again.weights == model.weights


@needs_bf16
def test_it_answers_in_bf16_nearly_the_same(files, frame, model, tmp_path):
    assert model.getPrecision() == "f32"
    model.setPrecision("bf16").save(f"file:{tmp_path}/rounded")
    loaded = CaffeModel.load(f"file:{tmp_path}/rounded")
    assert loaded.getPrecision() == "bf16"
    rounded = column(loaded.transform(frame), "prob")
    np.testing.assert_allclose(rounded, files[3]["prob"], rtol=0, atol=2e-2)
    assert np.abs(rounded - files[3]["prob"]).max() > 1e-5
    np.testing.assert_allclose(
        column(loaded.setPrecision("f32").transform(frame), "prob"), files[3]["prob"], rtol=0, atol=1e-6
    )


def test_sql_asks_a_saved_model(spark, files, frame, model, tmp_path):
    model.save(f"file:{tmp_path}/model")
    register_sql(spark)
    frame.createOrReplaceTempView("pictures")
    answered = spark.sql(f"SELECT id, caffe_predict('file:{tmp_path}/model', features) AS prob FROM pictures")
    np.testing.assert_allclose(column(answered, "prob"), files[3]["prob"], rtol=0, atol=1e-6)


def test_mistakes_are_python_errors_in_one_sentence(files, frame, model, tmp_path):
    with pytest.raises(ValueError, match="column pixels does not exist; the columns are id, features"):
        model.setFeaturesCol("pixels").transform(frame)
    with pytest.raises(FileNotFoundError, match="nothing.caffemodel does not exist"):
        CaffeModel.fromCaffe(files[0], str(tmp_path / "nothing.caffemodel"))
    with pytest.raises((FileNotFoundError, CaffeError), match="nothing"):
        CaffeModel.load(f"file:{tmp_path}/nothing")


def test_the_names_of_caffeonspark_are_there(spark):
    from com.yahoo.ml.caffe.CaffeOnSpark import CaffeOnSpark
    from com.yahoo.ml.caffe.Config import Config
    from com.yahoo.ml.caffe.DataSource import DataSource
    from com.yahoo.ml.caffe.RegisterContext import registerContext, registerSQLContext

    registerContext(spark.sparkContext)
    cos = CaffeOnSpark(spark.sparkContext)
    registerSQLContext(spark)
    assert cos is not None and DataSource(spark.sparkContext) is not None
    assert Config(spark.sparkContext, {"model": "file:/m"}).modelPath == "file:/m"
    with pytest.raises(TypeError, match="not a int"):
        registerContext(1)


def test_the_streaming_example_answers_a_folder(spark, files, tmp_path):
    """Pictures of three sizes, and a file that is none."""
    import importlib.util

    root = Path(__file__).resolve().parents[2]
    specification = importlib.util.spec_from_file_location("example", root / "examples/streaming/predict_folder.py")
    example = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(example)
    source, target = tmp_path / "in", tmp_path / "out"
    source.mkdir()
    for size in (8, 16, 24):
        pixels = np.full((size, size, 3), size * 10, dtype=np.uint8)
        (source / f"{size}.ppm").write_bytes(b"P6 %d %d 255\n" % (size, size) + pixels.tobytes())
    (source / "broken.jpg").write_bytes(b"no picture")
    model = CaffeModel.fromCaffe(files[0], files[1], featuresCol="content", predictionCol="class", resize=True)
    model.setHandleInvalid("keep")
    example.predict(spark, model, f"file:{source}", f"file:{target}", once=True).awaitTermination(60)
    rows = spark.read.json(f"file:{target}").collect()
    answers = {row.path.rsplit("/", 1)[1]: row["class"] for row in rows}
    assert sorted(answers) == ["16.ppm", "24.ppm", "8.ppm", "broken.jpg"]
    assert answers.pop("broken.jpg") is None and None not in answers.values()
