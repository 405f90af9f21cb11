"""ci/check_includes.py finds includes against the permitted direction, and this tree has none."""

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


def check(folder):
    return subprocess.run(
        [sys.executable, ROOT / "ci" / "check_includes.py", folder], capture_output=True, text=True, check=False
    )


@pytest.mark.parametrize(
    ("file", "include", "allowed"),
    [
        ("engine/layers/relu.cpp", "core/blob.h", True),
        ("engine/layers/relu.cpp", "layers/layer.h", True),
        ("engine/layers/relu.cpp", "proto/caffe.pb.h", True),
        ("engine/layers/relu.cpp", "net/net.h", False),
        ("engine/backends/cpu/onednn/pool.cpp", "solvers/solver.h", False),
        ("engine/core/blob.cpp", "proto/caffe.pb.h", False),
        ("engine/data/lmdb.cpp", "layers/layer.h", False),
        ("engine/io/prototxt.cpp", "net/upgrade.h", True),
        ("engine/io/prototxt.cpp", "net/net.h", False),
        ("engine/net/upgrade.cpp", "net/net.h", False),
        ("collective/ring.cpp", "core/error.h", True),
        ("collective/ring.cpp", "net/net.h", False),
        ("capi/net.cpp", "collective/ring.h", True),
        ("jvm/native/src/main/cpp/jni.cpp", "capi/caffe_c.h", True),
        ("jvm/native/src/main/cpp/jni.cpp", "net/net.h", False),
        ("python/caffe/_caffe.cpp", "capi/caffe_c.h", False),
        ("tests/engine/net_test.cpp", "collective/ring.h", True),
        ("tools/caffe.cpp", "CLI/CLI.hpp", True),
    ],
)
def test_direction(tmp_path, file, include, allowed):
    path = tmp_path / file
    path.parent.mkdir(parents=True)
    path.write_text(f'#pragma once\n#include "{include}"\n')
    result = check(tmp_path)
    assert (result.returncode == 0) == allowed, result.stdout
    if not allowed:
        assert result.stdout.startswith(f"{file}:2: ")


def test_this_tree_keeps_the_direction():
    result = check(ROOT)
    assert result.returncode == 0, result.stdout
