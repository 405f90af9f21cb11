"""Sizes that a file claims are checked before memory is taken: an error, not a killed process."""

import os
import resource
import subprocess

import h5py
import pytest
from command_line import SECONDS

NET = "lenet_tiny_train_test.prototxt"
MODEL = "snap/lenet_tiny_iter_20.caffemodel"
INSTALLED = resource.getpagesize() * os.sysconf("SC_PHYS_PAGES")


def edit(path, old, new):
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))


def test_a_model_file_above_two_gibibytes_is_refused_unread(caffe, formats):
    with open(formats / "huge.caffemodel", "wb") as file:
        file.truncate(3 << 30)
    message = caffe.fail("test", "-model", NET, "-weights", "huge.caffemodel")
    assert "huge.caffemodel has 3221225472 bytes" in message
    assert "2 GiB" in message


@pytest.mark.parametrize("axes", [(INSTALLED // 2,), (1 << 40, 1 << 40)])
def test_an_hdf5_model_twice_as_large_as_the_memory(caffe, formats, axes):
    """Its file is small: HDF5 does not store what was never written."""
    with h5py.File(formats / "huge.caffemodel.h5", "w") as file:
        group = file.create_group("data/conv1")
        group.create_dataset("0", axes, "f4", chunks=(1 << 20,) * 1 + (1,) * (len(axes) - 1))
    message = caffe.fail("test", "-model", NET, "-weights", "huge.caffemodel.h5")
    assert "huge.caffemodel.h5" in message


@pytest.mark.parametrize("count", [2**31 - 1, min(2**31 - 1, INSTALLED // 160)])
def test_a_net_larger_than_the_memory(caffe, formats, count):
    edit(formats / NET, "num_output: 12", f"num_output: {count}")
    message = caffe.fail("time", "-model", NET, "-iterations", "1")
    assert "MiB" in message or "too many" in message


@pytest.mark.parametrize("dims", ["dim: 4294967296 dim: 4294967296", "dim: -2 dim: -2"])
def test_a_shape_whose_values_cannot_be_counted(caffe, formats, dims):
    (formats / "net").write_text(f'layer {{ name: "in" type: "Input" top: "x" input_param {{ shape {{ {dims} }} }} }}')
    message = caffe.fail("time", "-model", "net", "-iterations", "1")
    assert "[layer in (Input)]" in message


def test_a_small_address_space_is_an_error_too(caffe, formats):
    edit(formats / NET, "num_output: 12", "num_output: 10000000")
    result = subprocess.run(
        [caffe.path, "time", "-model", NET, "-iterations", "1"],
        cwd=formats,
        capture_output=True,
        text=True,
        timeout=SECONDS,
        check=False,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_AS, (1 << 30, 1 << 30)),
    )
    assert result.returncode == 1
    assert "memory" in result.stderr.splitlines()[-1]


@pytest.mark.parametrize("device", ["/dev/zero", "/dev/urandom"])
def test_a_device_without_an_end_is_no_file(caffe, device):
    assert "it is a device" in caffe.fail("test", "-model", device, "-weights", MODEL)
    assert "device" in caffe.fail("test", "-model", NET, "-weights", device)
