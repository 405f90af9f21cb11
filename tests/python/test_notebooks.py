"""The notebooks of examples/ run from the first cell to the last, and show what their text says."""

import os
import re
from pathlib import Path

import nbclient
import nbformat
import pytest

pytestmark = pytest.mark.spark

NOTEBOOKS = Path(__file__).resolve().parents[2] / "examples" / "notebooks"
SECONDS = 180


def printed(cell):
    """All text that stands below a cell."""
    texts = [out.get("text") or out.get("data", {}).get("text/plain", "") for out in cell.get("outputs", [])]
    return "\n".join("".join(text) for text in texts)


@pytest.fixture
def executed(tmp_path, monkeypatch):
    """executed(name): the cells after they were run, in a folder without anything else."""
    for name, value in {"SPARK_LOCAL_IP": "127.0.0.1", "SPARK_LOCAL_HOSTNAME": "localhost"}.items():
        monkeypatch.setenv(name, value)

    def run(name):
        notebook = nbformat.read(NOTEBOOKS / name, as_version=4)
        nbclient.NotebookClient(
            notebook, timeout=SECONDS, kernel_name="python3", resources={"metadata": {"path": str(tmp_path)}}
        ).execute()
        if folder := os.environ.get("CAFFE_KEEP_NOTEBOOKS"):
            nbformat.write(notebook, Path(folder) / name)
        return notebook.cells

    return run


@pytest.mark.timeout(400)
def test_spark_ml(executed):
    cells = executed("spark_ml.ipynb")
    training = next(cell for cell in cells if "estimator.fit" in cell.source)
    assert re.search(r"Iteration \d+ of 400: Trained \d+ iterations.*images/s", printed(training))
    assert re.search(r"validation at \d+: accuracy = [\d.]+, loss = ", printed(training))
    accuracies = [float(text) for cell in cells for text in re.findall(r"^accuracy ([\d.]+)$", printed(cell), re.M)]
    assert len(accuracies) == 3 and min(accuracies) > 0.8 and accuracies[1] == accuracies[2]


def test_they_are_stored_with_what_they_showed():
    for path in NOTEBOOKS.glob("*.ipynb"):
        cells = [cell for cell in nbformat.read(path, as_version=4).cells if cell.cell_type == "code"]
        assert all(cell.execution_count for cell in cells) and any(cell.outputs for cell in cells), path.name
        assert path.stat().st_size < 200_000, path.name
