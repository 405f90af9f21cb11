"""Fixtures of tests/golden, copied to a scratch folder."""

import shutil
from pathlib import Path

import pytest
from command_line import Tool

GOLDEN = Path(__file__).resolve().parents[1] / "golden"


@pytest.fixture
def formats(tmp_path):
    """A small LeNet with its stores, and what Caffe wrote for it."""
    folder = tmp_path / "formats"
    shutil.copytree(GOLDEN / "formats", folder)
    return folder


@pytest.fixture
def digits(tmp_path):
    """LeNet on scikit-learn's digits."""
    folder = tmp_path / "digits"
    shutil.copytree(GOLDEN / "e2e_digits", folder)
    return folder


@pytest.fixture
def caffe(formats):
    """The command `caffe`, run in the folder `formats`."""
    return Tool("caffe", formats)
