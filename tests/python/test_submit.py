"""How Spark sessions and spark-submit get the jar; nothing here starts Spark."""

import subprocess
import sys
from pathlib import Path

import pyspark
import pytest
from caffeonspark import jar_path, submit
from caffeonspark._jar import submit_arguments


def test_the_jar_joins_the_arguments_of_pyspark():
    assert submit_arguments("pyspark-shell", "a.jar") == "--jars a.jar pyspark-shell"
    assert submit_arguments("", "a.jar") == "--jars a.jar pyspark-shell"
    assert submit_arguments("--jars x.jar,y.jar --master local pyspark-shell", "a.jar") == (
        "--jars x.jar,y.jar,a.jar --master local pyspark-shell"
    )
    assert submit_arguments("--jars=x.jar pyspark-shell", "a.jar") == "--jars=x.jar,a.jar pyspark-shell"
    once = submit_arguments("--name 'two words' pyspark-shell", "a.jar")
    assert submit_arguments(once, "a.jar") == once == "--jars a.jar --name 'two words' pyspark-shell"


def test_importing_is_enough_before_a_session_and_harmless_after():
    program = "import os, caffeonspark; print(os.environ.get('PYSPARK_SUBMIT_ARGS'))"

    def printed(**more):
        done = subprocess.run([sys.executable, "-c", program], env=more, capture_output=True, text=True, check=True)
        return done.stdout.strip()

    assert printed() == f"--jars {jar_path()} pyspark-shell"
    assert printed(CAFFEONSPARK_JAR="/nowhere.jar") == "None"
    assert printed(PYSPARK_GATEWAY_PORT="1") == "None"


def words(*arguments):
    """The command without spark-submit's path."""
    return submit.command(list(arguments))[1:]


def test_flags_get_jar_main_class_and_settings():
    line = words("--master", "spark://m:7077", "--executor-memory=4g", "-train", "-conf", "s.prototxt")
    assert line[:3] == ["--master", "spark://m:7077", "--executor-memory=4g"]
    assert line[-4:] == [jar_path(), "-train", "-conf", "s.prototxt"]
    text = " ".join(line)
    assert "--class com.yahoo.ml.caffe.CaffeOnSpark" in text
    assert "--conf spark.executor.memoryOverhead=4g" in text and "--conf spark.speculation=false" in text


def test_what_the_user_set_stays():
    line = words(
        "--conf", "spark.speculation=true", "--conf=spark.executor.memoryOverhead=1g", "--class", "a.B", "-train"
    )
    assert line.count("--class") == 1 and "spark.speculation=false" not in line
    assert not any(word.startswith("spark.executor.memoryOverhead=") for word in line if word != "--conf")
    assert "spark.executor.memoryOverhead" not in " ".join(words("--master", "local[2]", "-test"))


def test_a_program_gets_the_jar_beside_its_own():
    line = words("--jars", "mine.jar", "program.py", "-x", "1")
    assert line[-3:] == ["program.py", "-x", "1"] and "--class" not in line
    assert line[line.index("--jars") + 1] == f"mine.jar,{jar_path()}" and line.count("--jars") == 1


def test_in_cluster_mode_the_prototxts_travel(tmp_path):
    folder = tmp_path / "job"
    folder.mkdir()
    (folder / "net.prototxt").write_text("")
    solver = folder / "solver.prototxt"
    solver.write_text('base_lr: 0.1\nnet: "net.prototxt"  # beside the solver\n')
    line = words("--master", "yarn", "--deploy-mode", "cluster", "-train", "-conf", str(solver))
    assert line[line.index("--files") + 1] == f"{solver},{folder / 'net.prototxt'}"
    assert line[-2:] == ["-conf", "solver.prototxt"]
    assert "--files" not in words("--master", "yarn", "-train", "-conf", str(solver))


def test_the_command_explains_itself():
    command = Path(sys.executable).parent / "caffeonspark-submit"
    done = subprocess.run([command, "--explain", "-train"], capture_output=True, text=True, check=True)
    assert done.stdout.rstrip().endswith(f"{jar_path()} -train")
    assert "usage: caffeonspark-submit" in subprocess.run([command, "--help"], capture_output=True, text=True).stdout


@pytest.mark.parametrize(
    "arguments", [["--verbose", "-train"], ["-train"], ["--name=x", "-train"], ["--name", "x", "-train"]]
)
def test_options_of_spark_submit_end_where_flags_begin(arguments):
    assert submit.split(arguments)[1] == ["-train"]


def test_spark_is_found_without_an_activated_environment():
    command = [Path(sys.executable).parent / "caffeonspark-submit", "--version"]
    plain = {"PATH": "/usr/bin:/bin"}
    done = subprocess.run(command, env=plain, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0 and "version " + pyspark.__version__ in done.stderr, done.stderr
    done = subprocess.run(command, env={**plain, "SPARK_HOME": "/nowhere"}, capture_output=True, text=True)
    assert done.returncode == 1 and "/nowhere/bin/spark-submit does not exist" in done.stderr


def test_programs_run_in_the_same_python(monkeypatch):
    for name in ("SPARK_HOME", "PYSPARK_PYTHON", "PYSPARK_DRIVER_PYTHON"):
        monkeypatch.delenv(name, raising=False)

    def pythons(*arguments):
        return {name: text for name, text in submit.environment(list(arguments)).items() if name.endswith("PYTHON")}

    assert pythons("program.py") == {"PYSPARK_PYTHON": sys.executable}
    assert pythons("--master", "yarn", "program.py") == {"PYSPARK_DRIVER_PYTHON": sys.executable}
    for theirs in (["--deploy-mode", "cluster"], ["--conf", "spark.pyspark.python=python3.12"]):
        assert pythons("--master", "yarn", *theirs, "program.py") == {}
    assert pythons("-train") == {}
    monkeypatch.setenv("PYSPARK_PYTHON", "/usr/bin/python3")
    assert pythons("program.py") == {"PYSPARK_PYTHON": "/usr/bin/python3"}
    monkeypatch.delenv("PYSPARK_PYTHON")
    monkeypatch.setenv("SPARK_HOME", "/opt/spark")  # a cluster's own Spark, with settings of its own
    assert pythons("program.py") == {}


def test_a_jar_for_another_spark(monkeypatch, tmp_path):
    other = tmp_path / "caffeonspark-1.0.0-spark3.5_2.12.jar"
    monkeypatch.setenv("CAFFEONSPARK_JAR", str(other))
    with pytest.raises(FileNotFoundError, match="CAFFEONSPARK_JAR names .*2.12.jar, which is no file"):
        jar_path()
    other.touch()
    assert words("-train")[-2:] == [str(other), "-train"]
