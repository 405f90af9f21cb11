"""The scripts of examples/ run from a checkout and do what their READMEs say."""

import os
import re
import subprocess
import sys

import nbclient
import nbformat
import numpy as np
import pytest
from places import DATA, ROOT

EXAMPLES = ROOT / "examples"


@pytest.mark.parametrize("pictures", [True, False], ids=["with matplotlib", "without"])
def test_fine_tuning_digits(tmp_path, pictures):
    script = EXAMPLES / "finetune_digits" / "finetune.py"
    command = [sys.executable, script, "--output", "out"]
    if not pictures:  # a module that cannot be imported stands before it
        (tmp_path / "matplotlib.py").write_text("raise ImportError")
        command = [
            sys.executable,
            "-c",
            f"import sys, runpy; sys.path.insert(0, '.'); sys.argv[:] = [{str(script)!r}, '--output', 'out']; runpy.run_path(sys.argv[0], run_name='__main__')",
        ]
    run = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=120, check=False)
    assert run.returncode == 0, run.stderr
    figures = re.search(r"clean pictures ([\d.]+); .* fine-tuned ([\d.]+), from nothing ([\d.]+)", run.stdout).groups()
    clean, tuned, fresh = map(float, figures)
    assert tuned > 0.8 and tuned > fresh and tuned > clean
    centres = float(re.search(r"nearest centre is right for ([\d.]+)", run.stdout).group(1))
    assert centres > 0.75
    assert np.load(tmp_path / "out" / "features.npy").shape[1] == 100
    found = {path.name for path in (tmp_path / "out").glob("*.png")}
    assert found == ({"losses.png", "filters.png", "saliency.png"} if pictures else set())
    assert pictures or "matplotlib is not installed" in run.stdout


def test_the_notebook_that_looks_inside(tmp_path, monkeypatch):
    monkeypatch.setenv("DIGITS", str(EXAMPLES.parent / "tests" / "golden" / "e2e_digits"))
    stored = nbformat.read(EXAMPLES / "notebooks" / "look_inside.ipynb", as_version=4)
    run = nbformat.from_dict(stored)
    resources = {"metadata": {"path": str(tmp_path)}}
    nbclient.NotebookClient(run, timeout=180, kernel_name="python3", resources=resources).execute()

    def shown(notebook):
        outputs = [out for cell in notebook.cells for out in cell.get("outputs", [])]
        text = "".join(out.get("text", "") for out in outputs)
        clean, tuned, fresh = map(
            float, re.search(r"pictures ([\d.]+); .* ([\d.]+), from nothing ([\d.]+)", text).groups()
        )
        assert tuned > 0.8 and tuned > fresh and tuned > clean
        return sum("image/png" in out.get("data", {}) for out in outputs)

    assert shown(run) == shown(stored) == 3


@pytest.mark.spark
def test_mnist_with_two_workers(tmp_path):
    mnist = DATA / "mnist"
    if not (mnist / "train-images-idx3-ubyte.gz").exists():
        pytest.skip(f"MNIST is not there: {DATA} (CAFFE_TEST_DATA) has no folder mnist/")
    environment = dict(os.environ, CAFFE_BUILD_DIR=str(tmp_path), ITERATIONS="300")
    command = [EXAMPLES / "mnist" / "run.sh", mnist, "2"]
    run = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=300, check=False)
    assert run.returncode == 0, run.stderr[-2000:]
    assert float(re.search(r"^accuracy: ([\d.]+)", run.stdout, re.MULTILINE)[1]) > 0.95
    command[1] = tmp_path
    run = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert run.returncode == 1 and "error: no train-images-idx3-ubyte.gz in" in run.stderr
