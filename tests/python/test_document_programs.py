"""The Python programs of the documentation run as they stand there, with small data behind the names that they use."""

import ast
import re

import caffe
import caffeonspark  # noqa: F401 (before the session starts: it then has the jar)
import numpy as np
import pytest
from caffe.proto import caffe_pb2
from caffeonspark.ml import CaffeCaptioner, CaffeEstimator, CaffeModel
from conftest import GOLDEN
from documents import FILES, blocks, inline_code, parts
from google.protobuf import text_format
from matplotlib import image
from places import ROOT, local_spark
from pyspark.sql import DataFrame
from pyspark.sql.functions import expr

pytestmark = pytest.mark.spark

ELSEWHERE = {"ssd_300x300": "a published model", "lrcn_net": "tests/python/test_captioning.py runs the like"}
DIGITS = GOLDEN / "e2e_digits"


@pytest.fixture(scope="module")
def spark(tmp_path_factory):
    """With as many slots as the programs want workers."""
    with local_spark(tmp_path_factory.mktemp("warehouse"), spark_master="local[4]") as session:
        yield session


def deploy_text():
    """LeNet as the documentation describes it: an Input layer in place of the data layers, Softmax in place of the loss."""
    net = text_format.Parse((DIGITS / "lenet_digits.prototxt").read_text(), caffe_pb2.NetParameter())
    kept = [layer for layer in net.layer if layer.type not in ("Data", "Accuracy", "SoftmaxWithLoss")]
    deploy = text_format.Parse(
        'layer { name: "in" type: "Input" top: "data" input_param { shape { dim: 4 dim: 1 dim: 28 dim: 28 } } }',
        caffe_pb2.NetParameter(),
    )
    deploy.layer.extend(kept)
    deploy.layer.add(name="prob", type="Softmax", bottom=[kept[-1].top[0]], top=["prob"])
    return text_format.MessageToString(deploy)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """What lies in the working folder and on hdfs:///, for which this folder stands, too."""
    place = tmp_path_factory.mktemp("documents")
    train = (DIGITS / "lenet_digits.prototxt").read_text().replace('"digits_', f'"{DIGITS}/digits_')
    (place / "lenet_train_test.prototxt").write_text(train)
    (place / "lenet_solver.prototxt").write_text(
        'net: "lenet_train_test.prototxt" base_lr: 0.01 momentum: 0.9 lr_policy: "fixed" max_iter: 4 random_seed: 1\n'
        "test_iter: 1 test_interval: 2"
    )
    (place / "deploy.prototxt").write_text(deploy_text())
    net = caffe.Net(str(place / "deploy.prototxt"), caffe.TEST)
    for model in ("lenet.caffemodel", "net.caffemodel", "models/lenet.caffemodel"):
        (place / model).parent.mkdir(exist_ok=True)
        net.save(str(place / model))
    (place / "pictures").mkdir()
    for i, pixels in enumerate(np.random.default_rng(1).uniform(0, 1, (12, 28, 28))):
        image.imsave(place / f"pictures/{i}.png", pixels, cmap="gray")
    return place


@pytest.fixture
def names(spark, folder):
    """What programs take as given."""
    pictures = spark.read.format("image").load(f"file:{folder}/pictures")
    labelled = pictures.withColumn("label", expr("length(image.origin) % 2"))
    spark.read.format("binaryFile").load(f"file:{folder}/pictures").createOrReplaceTempView("pictures")
    return {
        "spark": spark,
        "images": np.zeros((4, 1, 28, 28)),
        "pictures": pictures,
        "labelled": labelled,
        "held": labelled,
    }


def changed_for(block, folder):
    """Its folders and files are ours, by absolute paths: Spark's JVM may have another working folder. The layer that
    features are taken from has another name in LeNet."""
    text = re.sub("hdfs:///|file:/tmp/", f"file:{folder}/", block.text)
    for path in filter(lambda path: path.is_file(), folder.iterdir()):
        text = text.replace(f'"{path.name}"', f'"{path}"')
    return text.replace('"fc7=', '"ip1=')


def run(text, names):
    """Executes it; a last expression that is a DataFrame is computed, as a user's next line would do."""
    tree = ast.parse(text)
    last = tree.body.pop() if isinstance(tree.body[-1], ast.Expr) else None
    exec(compile(tree, "document", "exec"), names)
    if last:
        value = eval(compile(ast.Expression(last.value), "document", "eval"), names)
        return value.collect() if isinstance(value, DataFrame) else value


@pytest.mark.parametrize("file", sorted({block.file for block in blocks("python")}), ids=lambda file: file.name)
def test_the_programs_of(file, spark, folder, names):
    for block in blocks("python"):
        if block.file != file or any(name in block.text for name in ELSEWHERE):
            continue
        try:
            run(changed_for(block, folder), names)
        except Exception as error:
            raise AssertionError(f"{block}: {error}") from error
    if file.name == "spark-ml.md":
        rows = spark.sql(f"SELECT caffe_predict('file:{folder}/models/lenet', content) AS prob FROM pictures").collect()
        assert len(rows) == 12 and all(sum(row.prob) == pytest.approx(1, abs=1e-5) for row in rows)
        assert (folder / "models/pipeline/stages").is_dir() and names["model"].getPredictionCol() == "class"


def test_params_of_the_stages():
    page = (ROOT / "docs/spark-ml.md").read_text()
    tables = re.findall(r"^\| Param \| default \| meaning \|\n\|[-|]+\n((?:\|.*\n)+)", page, re.MULTILINE)
    assert len(tables) == 3
    for table, stage in zip(tables, (CaffeEstimator(), CaffeModel, CaffeCaptioner)):
        documented = [name for row in table.splitlines() for name in re.findall(r"`(\w+)`", row.split("|")[1])]
        assert [name for name in documented if not hasattr(stage, f"set{name[0].upper()}{name[1:]}")] == []


# These have names of the user's behind them; and what is read without being registered, or is CaffeOnSpark's.
OPEN = r"spark\.(executorEnv|hadoop|\w+\.resource|yarn\.appMasterEnv|kubernetes\.\w+\.volumes)\."
UNLISTED = {"spark.pythonargs", "spark.local.dir", "spark.ssl.enabled", "spark.ssl.rpc.enabled"}


def test_properties_of_sparks_own(spark):
    """Those that the documentation sets or names are in Spark's registry."""
    jvm = spark._jvm
    loader = jvm.Thread.currentThread().getContextClassLoader()
    configs = [f"org.apache.spark.internal.config.{name}$" for name in ("package", "UI", "Network", "Deploy", "Worker")]
    for name in [*configs, "org.apache.spark.deploy.yarn.config.package$", "org.apache.spark.deploy.k8s.Config$"]:
        jvm.java.lang.Class.forName(name, True, loader)
    find = jvm.org.apache.spark.internal.config.ConfigEntry.findEntry
    named = {}
    for file in FILES:
        found = re.findall(r"--conf[ =]\\?\s*'?(spark\.[\w.]+)=", file.read_text())
        found += [
            code.split("=")[0] for code in inline_code(parts(file)[1]) if re.fullmatch(r"spark(\.\w+)+(=\S*)?", code)
        ]
        named |= {name: file.name for name in found if not name.startswith("spark.caffe.")}
    assert len(named) > 20
    unknown = {name for name in named if not re.match(OPEN, name) and find(name) is None} - UNLISTED
    assert {name: named[name] for name in unknown} == {}
