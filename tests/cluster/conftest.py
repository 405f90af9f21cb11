"""Real clusters on loopback, started once and stopped at the end; what they run is started by spark-submit, as users do."""

import shutil
import struct
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import lmdb
import pyarrow.parquet
import pytest
from caffe.proto import caffe_pb2
from daemons import Hadoop, Standalone
from google.protobuf import text_format
from jobs import JOB_SECONDS, Job, options, weights
from places import BUILD, LOOPBACK, QUICK_JVM, ROOT, SPARK_HOME, spark_environment

GOLDEN = ROOT / "tests/golden/e2e_digits"
SOLVER = """base_lr: 0.01 momentum: 0.9 weight_decay: 0.0005 lr_policy: "fixed" random_seed: 7 solver_mode: CPU
max_iter: 160 snapshot: 40 snapshot_prefix: "lenet" test_iter: 2 test_interval: 80 display: 20
"""


@pytest.fixture(scope="session")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("cluster")


@pytest.fixture(scope="session")
def environment():
    return spark_environment(HADOOP_USER_NAME="root")


@pytest.fixture(scope="session")
def hadoop_jars():
    jars = BUILD / "hadoop"
    fetched = subprocess.run([ROOT / "ci/deps.sh", "hadoop"], capture_output=True, text=True, timeout=JOB_SECONDS)
    if fetched.returncode != 0 and not (jars / "version").exists():
        pytest.skip("the jars of Hadoop's daemons (ci/hadoop/pom.xml) cannot be had from Maven")
    return jars


@pytest.fixture(scope="session")
def hadoop(folder, hadoop_jars):
    daemons = Hadoop(folder / "hadoop", hadoop_jars)
    try:
        daemons.up()
        yield daemons
    finally:
        daemons.stop()


@pytest.fixture(scope="session")
def standalone(folder, environment):
    """Two workers of two cores."""
    daemons = Standalone(folder / "standalone", environment)
    try:
        daemons.up(workers=2, cores=2)
        yield daemons
    finally:
        daemons.stop()


@pytest.fixture(scope="session")
def yarn_settings():
    """Properties for YARN: Spark's jars are not uploaded, everybody stays on loopback."""
    return {
        "spark.yarn.jars": f"local:{SPARK_HOME}/jars/*",
        "spark.yarn.am.memory": "384m",
        "spark.executor.memoryOverhead": "384m",
        "spark.yarn.appMasterEnv.SPARK_LOCAL_IP": LOOPBACK,
        "spark.executorEnv.SPARK_LOCAL_IP": LOOPBACK,
    }


@pytest.fixture(scope="session")
def yarn(yarn_settings):
    """Options of spark-submit for two executors of one core under YARN."""
    return ["--master", "yarn", "--num-executors", "2", "--executor-cores", "1", *options(yarn_settings)]


@pytest.fixture(scope="session")
def submit(environment, hadoop):
    """submit(cwd, *arguments): with HDFS as the default file system, and few bytes for every JVM."""

    def run(cwd: Path, *arguments: str, watch: Callable[[str], None] = lambda line: None) -> Job:
        small = ["--driver-memory", "512m", "--executor-memory", "512m", "--conf", "spark.ui.enabled=false"]
        for who in ("driver", "executor", "yarn.am"):
            small += ["--conf", f"spark.{who}.extraJavaOptions={QUICK_JVM}"]
        env = {**environment, "HADOOP_CONF_DIR": str(hadoop.conf)}
        return Job([*small, *map(str, arguments)], env, cwd, watch)

    return run


@pytest.fixture(scope="session")
def train_here(submit):
    """train_here(folder, solver): the weights that two workers in one process make out of local files."""

    def run(folder: Path, solver: str) -> list:
        model = folder / f"{solver}.model"
        flags = ["-train", "-conf", solver, "-clusterSize", "2", "-model", f"file:{model}"]
        submit(folder, "--master", "local[2]", *flags).ok()
        return weights(model.read_bytes())

    return run


def datums(store: Path) -> list:
    with lmdb.open(str(store), readonly=True, lock=False) as database, database.begin() as transaction:
        return [caffe_pb2.Datum.FromString(value) for _, value in transaction.cursor()]


def write_leveldb(data: list, store: Path) -> None:
    """Gray images as a LevelDB, by way of MNIST's file format."""
    size = struct.pack(">3i", len(data), data[0].height, data[0].width)
    images, labels = store.with_suffix(".images"), store.with_suffix(".labels")
    images.write_bytes(b"\0\0\x08\x03" + size + b"".join(each.data for each in data))
    labels.write_bytes(b"\0\0\x08\x01" + size[:4] + bytes(each.label for each in data))
    command = [str(Path(sys.executable).parent / "convert_mnist_data"), images, labels, store, "-backend", "leveldb"]
    subprocess.run(command, check=True, capture_output=True, timeout=180)
    images.unlink()
    labels.unlink()


def write_parquet(data: list, file: Path) -> None:
    columns = {"id": [f"image {i}" for i in range(len(data))]}
    columns |= {name: [getattr(each, name) for each in data] for name in ("data", "label")}
    pyarrow.parquet.write_table(pyarrow.table(columns), file)


def with_test_layer(net: str, change: Callable[[caffe_pb2.LayerParameter], None]) -> str:
    message = text_format.Parse(net, caffe_pb2.NetParameter())
    change(next(layer for layer in message.layer if layer.include and layer.include[0].phase == caffe_pb2.TEST))
    return text_format.MessageToString(message)


@pytest.fixture(scope="session")
def job(folder, hadoop):
    """A folder with nets and solvers. Their data are on HDFS, in /data; of local_net, here."""
    place = folder / "job"
    data = place / "data"
    data.mkdir(parents=True)
    for name in ("digits_train_lmdb", "digits_test_lmdb"):
        shutil.copytree(GOLDEN / name, data / name)
    test = datums(data / "digits_test_lmdb")
    write_leveldb(test, data / "digits_test_leveldb")
    write_parquet(test, data / "digits_test.parquet")
    hadoop.files.put(data, "/data")

    def leveldb(layer):
        layer.data_param.source = f"{hadoop.uri}/data/digits_test_leveldb"
        layer.data_param.backend = caffe_pb2.DataParameter.LEVELDB

    def rows(layer):
        layer.type, layer.source_class = "MemoryData", "com.yahoo.ml.caffe.ImageDataFrame"
        memory = {"source": f"{hadoop.uri}/data/digits_test.parquet", "batch_size": layer.data_param.batch_size}
        shape = {"channels": test[0].channels, "height": test[0].height, "width": test[0].width}
        layer.memory_data_param.CopyFrom(caffe_pb2.MemoryDataParameter(**memory, **shape))
        layer.ClearField("data_param")

    net = (GOLDEN / "lenet_digits.prototxt").read_text()
    remote = net.replace('"digits_', f'"{hadoop.uri}/data/digits_')
    local = net.replace('"digits_', f'"{data}/digits_')
    with_leveldb, with_rows = with_test_layer(remote, leveldb), with_test_layer(remote, rows)
    for name, text in {"net": remote, "local_net": local, "leveldb_net": with_leveldb, "rows_net": with_rows}.items():
        (place / f"{name}.prototxt").write_text(text)
        (place / f"{name}_solver.prototxt").write_text(f'net: "{name}.prototxt"\n{SOLVER}')
    return place
