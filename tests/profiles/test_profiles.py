"""The jars for other Spark versions run on Spark itself: the distributions that PyPI has, each in a folder of its own."""

import subprocess
import sys
from pathlib import Path

import pytest
from places import BUILD, QUICK_JVM, ROOT, spark_environment

pytestmark = pytest.mark.profiles

GOLDEN = ROOT / "tests/golden/e2e_digits"
SECONDS = 300
SOLVER = """net: "net.prototxt" base_lr: 0.01 momentum: 0.9 lr_policy: "fixed" max_iter: 20 random_seed: 7 solver_mode: CPU
test_iter: 1 test_interval: 10
"""
PROGRAM = """
import caffeonspark
from pyspark.sql import SparkSession

spark = SparkSession.builder.getOrCreate()
config = caffeonspark.Config(spark, conf="solver.prototxt", model="file:model", clusterSize=2, features="accuracy,ip2")
train, test = (caffeonspark.DataSource(spark).getSource(config, training) for training in (True, False))
caffe = caffeonspark.CaffeOnSpark(spark)
rounds = caffe.trainWithValidation(train, test).collect()
rows = caffe.features(test).orderBy("SampleID").collect()
with open("seen", "w") as out:
    print("Spark", spark.version, *rounds, *rows, sep="\\n", file=out)
"""


def pyspark_folder(version: str) -> Path:
    """PyPI's package; installed once, kept in build/."""
    folder = BUILD / "pyspark" / version
    if not (folder / "complete").exists():
        command = [sys.executable, "-m", "pip", "install", "-q", "--no-deps", "--no-build-isolation", "--upgrade"]
        wanted = ["-t", folder, f"pyspark=={version}"]
        done = subprocess.run([*command, *wanted], capture_output=True, text=True, timeout=SECONDS)
        if done.returncode != 0:
            pytest.skip(f"pyspark {version} cannot be had from PyPI")
        (folder / "complete").touch()
    return folder


def run(folder: Path, jar: Path, packages: Path | None) -> tuple[bytes, list[str]]:
    """Two executors train, validate and extract: the model, and what the driver saw, Spark's version in the second line."""
    folder.mkdir()
    net = (GOLDEN / "lenet_digits.prototxt").read_text().replace('"digits_', f'"{GOLDEN}/digits_')
    (folder / "net.prototxt").write_text(net)
    (folder / "solver.prototxt").write_text(SOLVER)
    (folder / "program.py").write_text(PROGRAM)
    env = spark_environment(SPARK_LOCAL_HOSTNAME="localhost", CAFFEONSPARK_JAR=str(jar))
    if packages:
        env["PYTHONPATH"] = str(packages)
    spark = ["--master", "local-cluster[2,1,512]", "--conf", "spark.executor.memory=512m", "--driver-memory", "512m"]
    spark += ["--conf", f"spark.executor.extraJavaOptions={QUICK_JVM}"]
    command = [sys.executable, "-m", "caffeonspark.submit", *spark, "--conf", "spark.ui.enabled=false", "program.py"]
    done = subprocess.run(command, cwd=folder, env=env, capture_output=True, text=True, timeout=SECONDS)
    assert done.returncode == 0, (done.stdout + done.stderr)[-4000:]
    return (folder / "model").read_bytes(), (folder / "seen").read_text().splitlines()


def jar(folder: str) -> Path:
    (found,) = (ROOT / "dist" / folder).glob("*.jar")
    return found


@pytest.fixture(scope="module")
def usual(tmp_path_factory):
    """What the usual jar does on the Spark that it was built for."""
    return run(tmp_path_factory.mktemp("usual") / "job", jar("."), None)


@pytest.mark.parametrize(
    "version, folder", [("4.3.0", "."), ("4.0.1", "."), ("4.0.1", "spark-4.0"), ("3.5.6", "spark-3.5-scala-2.12")]
)
def test_the_same_bits_on_every_spark(usual, tmp_path, version, folder):
    model, seen = run(tmp_path / "job", jar(folder), pyspark_folder(version))
    assert seen[:2] == ["Spark", version]
    assert model == usual[0] and seen[2:] == usual[1][2:]


@pytest.mark.parametrize(
    "version, folder, built, runs", [("3.5.6", ".", "2.13", "2.12"), (None, "spark-3.5-scala-2.12", "2.12", "2.13")]
)
def test_a_jar_for_another_scala_is_one_sentence(tmp_path, version, folder, built, runs):
    env = spark_environment(SPARK_LOCAL_HOSTNAME="localhost", CAFFEONSPARK_JAR=str(jar(folder)))
    if version:
        env["PYTHONPATH"] = str(pyspark_folder(version))
    (tmp_path / "program.py").write_text(PROGRAM)
    tool = ["--class", "com.yahoo.ml.caffe.tools.Binary2Sequence", "-output", "out"]
    sentence = f"this caffeonspark jar is for Scala {built}, but Spark runs Scala {runs}: take the jar whose name ends in _{runs}.jar"
    for arguments, begin in (
        (["-train", "-conf", "solver.prototxt"], "CaffeOnSpark: error: "),
        (tool, "Binary2Sequence: error: "),
        (["program.py"], "caffeonspark._api.CaffeError: "),
    ):
        command = [sys.executable, "-m", "caffeonspark.submit", "--master", "local[1]", *arguments]
        done = subprocess.run(command, cwd=tmp_path, env=env, capture_output=True, text=True, timeout=SECONDS)
        text = done.stdout + done.stderr  # Spark prints what a Python program says on its own output
        assert done.returncode == 1, text[-4000:]
        lines = [line for line in text.splitlines() if line.startswith(begin)]
        assert len(lines) == 1 and lines[0].startswith(begin + sentence), text[-4000:]
        assert "\tat " not in text  # no stack trace of Java's
