"""What `make build` leaves behind works as a user finds it: outside the source tree, without PYTHONPATH."""

import os
import subprocess
import sys
import venv
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
    "draw_net",
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
    """And folders, one for each other version of Spark that `make profiles` was asked for, maybe at this moment."""
    assert sorted(path.suffix for path in (ROOT / "dist").iterdir() if path.is_file()) == [".jar", ".whl"]


def test_the_package_brings_a_jar_with_natives():
    caffeonspark = pytest.importorskip("caffeonspark")
    with zipfile.ZipFile(caffeonspark.jar_path()) as jar:
        names = set(jar.namelist())
    natives = {"libcaffeonspark.so", "libcaffe_dnnl.so.3", "libgomp.so.1"}
    assert {f"native/linux-x86_64/{name}" for name in natives} <= names
    assert "com/yahoo/ml/caffe/CaffeOnSpark.class" in names


def test_other_pythons_have_all_but_caffe(tmp_path):
    (wheel,) = (ROOT / "dist").glob("*.whl")
    assert wheel.name.endswith("-py3-none-manylinux_2_36_x86_64.whl")
    with zipfile.ZipFile(wheel) as files:
        files.extractall(tmp_path, [name for name in files.namelist() if name.endswith((".py", "METADATA"))])
    (tmp_path / "caffe" / "_caffe.cpython-399-x86_64-linux-gnu.so").touch()
    program = "import sys; sys.path.insert(0, '.'); import caffeonspark.ml; print(caffeonspark.__file__); import caffe"
    result = run([sys.executable, "-c", program], tmp_path)
    assert result.stdout.strip() == str(tmp_path / "caffeonspark" / "__init__.py")
    assert "ImportError: caffe cannot be imported in Python 3." in result.stderr
    assert "its native module is _caffe.cpython-399-x86_64-linux-gnu.so" in result.stderr


@pytest.fixture(scope="module")
def clean(tmp_path_factory):
    """A new virtual environment with the wheel, numpy and protobuf; no PySpark, no matplotlib, no pydot."""
    folder = tmp_path_factory.mktemp("clean") / "venv"
    venv.create(folder, symlinks=True)
    (site,) = folder.glob("lib/python*/site-packages")
    (here,) = Path(sys.prefix).glob("lib/python*/site-packages")
    for name in ("numpy", "numpy.libs", "google", "numpy-*.dist-info", "protobuf-*.dist-info"):
        for package in here.glob(name):
            (site / package.name).symlink_to(package)
    (wheel,) = (ROOT / "dist").glob("*.whl")
    pip = [sys.executable, "-m", "pip", "--python", folder, "install", "-q", "--no-index", "--no-compile", wheel]
    result = run(pip, folder)  # with dependencies: there is no index, so all must be there already
    assert result.returncode == 0, result.stderr
    return folder / "bin"


def run_clean(clean, tmp_path, *command):
    """Runs a command of the environment where no other program can be found: no compiler, no build tool."""
    return subprocess.run(
        [clean / command[0], *command[1:]],
        cwd=tmp_path,
        env={"PATH": str(clean), "HOME": str(tmp_path)},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


LEARN = """
import sys
import caffe, numpy
open("net.prototxt", "w").write('''
layer { name: "in" type: "Input" top: "x" top: "t" input_param { shape { dim: 4 dim: 3 } shape { dim: 4 dim: 2 } } }
layer { name: "ip" type: "InnerProduct" bottom: "x" top: "y" inner_product_param { num_output: 2 weight_filler { type: "xavier" } } }
layer { name: "loss" type: "EuclideanLoss" bottom: "y" bottom: "t" top: "loss" }''')
open("solver.prototxt", "w").write('net: "net.prototxt" base_lr: 0.1 lr_policy: "fixed" snapshot_prefix: "s"')
solver = caffe.get_solver("solver.prototxt")
solver.net.blobs["x"].data[...] = numpy.eye(4, 3)
solver.net.blobs["t"].data[...] = 1
solver.step(100)
solver.snapshot()
assert float(solver.net.blobs["loss"].data) < 0.3
print(sorted(set(sys.modules) & {"pyspark", "py4j", "matplotlib", "pydot", "skimage", "scipy"}))
"""


def test_the_wheel_alone_trains(clean, tmp_path):
    result = run_clean(clean, tmp_path, "python", "-c", LEARN)
    assert result.returncode == 0, result.stderr
    assert result.stdout.strip() == "[]"
    assert (tmp_path / "s_iter_100.caffemodel").exists()
    result = run_clean(clean, tmp_path, "caffe", "time", "-model", "net.prototxt", "-iterations", "1")
    assert result.returncode == 0, result.stderr


@pytest.mark.parametrize("name", COMMANDS)
def test_the_wheel_brings_the_commands(clean, tmp_path, name):
    result = run_clean(clean, tmp_path, name, "-help")
    assert result.returncode == 0, result.stderr
    assert "usage" in (result.stdout + result.stderr).lower()


def test_what_needs_more_says_so(clean, tmp_path):
    result = run_clean(clean, tmp_path, "python", "-c", "import caffeonspark as c; print(c.jar_path()); c.Config")
    assert result.stdout.strip().endswith(".jar")
    assert "ImportError: caffeonspark.Config needs PySpark" in result.stderr
    (tmp_path / "net.prototxt").write_text('name: "n"')
    result = run_clean(clean, tmp_path, "draw_net", "net.prototxt", "net.png")
    assert result.returncode == 1 and "pip install pydot" in result.stderr and "Traceback" not in result.stderr
