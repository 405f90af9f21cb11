"""The scripts of examples/ that need no Spark run from a checkout and do what their READMEs say."""

import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"


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
