"""What `make build` leaves behind works as a user finds it: outside the source tree, without PYTHONPATH."""

import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


def run(arguments, folder):
    environment = {name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "LD_LIBRARY_PATH")}
    return subprocess.run(
        arguments, cwd=folder, env=environment, capture_output=True, text=True, timeout=120, check=False
    )


def test_python_imports_both_packages_and_all_they_need(tmp_path):
    program = "import caffe, caffeonspark, numpy, google.protobuf, pyspark; print(caffe.__version__)"
    result = run([sys.executable, "-I", "-c", program], tmp_path)
    assert result.returncode == 0, result.stderr
    assert result.stdout.strip()


def test_the_packages_are_the_installed_ones(tmp_path):
    result = run(
        [sys.executable, "-c", "import caffe, caffeonspark; print(caffe.__file__, caffeonspark.__file__)"], tmp_path
    )
    for path in result.stdout.split():
        assert Path(path).is_relative_to(sys.prefix)


COMMANDS = [
    "caffe",
    "caffeonspark-submit",
    "compute_image_mean",
    "convert_imageset",
    "convert_mnist_data",
    "upgrade_net_proto_binary",
    "upgrade_net_proto_text",
    "upgrade_solver_proto_text",
]


@pytest.mark.parametrize("name", COMMANDS)
def test_commands_stand_beside_python(name, tmp_path):
    result = run([Path(sys.executable).parent / name, "-help"], tmp_path)
    assert result.returncode == 0, result.stderr
    assert "usage" in (result.stdout + result.stderr).lower()


def test_spark_submit_stands_beside_python():
    assert os.access(Path(sys.executable).parent / "spark-submit", os.X_OK)


def test_dist_holds_one_jar_and_one_wheel():
    assert sorted(path.suffix for path in (ROOT / "dist").iterdir()) == [".jar", ".whl"]


def test_the_package_brings_a_jar_with_natives():
    caffeonspark = pytest.importorskip("caffeonspark")
    with zipfile.ZipFile(caffeonspark.jar_path()) as jar:
        names = set(jar.namelist())
    natives = {"libcaffeonspark.so", "libcaffe_dnnl.so.3", "libgomp.so.1"}
    assert {f"native/linux-x86_64/{name}" for name in natives} <= names
    assert "com/yahoo/ml/caffe/CaffeOnSpark.class" in names
