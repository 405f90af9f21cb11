"""Puts what CMake and Maven built (CAFFE_STAGE, filled by ci/build.sh) into the wheel."""

import os
import shutil
import sys
from pathlib import Path

from setuptools import Distribution, setup
from setuptools.command.bdist_wheel import bdist_wheel
from setuptools.command.build_py import build_py

STAGE = Path(os.environ.get("CAFFE_STAGE", "build/stage/wheel"))
if not STAGE.is_dir():
    sys.exit(f"{STAGE} does not exist: run `make build`, which builds the natives first")


class BuildWithNatives(build_py):
    def run(self):
        super().run()
        shutil.copytree(STAGE, self.build_lib, dirs_exist_ok=True)


class PlatformWheel(bdist_wheel):
    """The natives are built on Debian 12, whose glibc 2.36 is the oldest that can load them. Only `caffe` has a module
    for one version of Python; caffeonspark, its jar and the commands are for all."""

    def finalize_options(self):
        super().finalize_options()
        self.plat_name = "manylinux_2_36_x86_64"

    def get_tag(self):
        return ("py3", "none", super().get_tag()[2])


class BinaryDistribution(Distribution):
    def has_ext_modules(self):
        return True


commands = sorted(path.name for path in STAGE.glob("caffe/_native/bin/*"))
setup(
    cmdclass={"build_py": BuildWithNatives, "bdist_wheel": PlatformWheel},
    distclass=BinaryDistribution,
    entry_points={
        "console_scripts": [
            *(f"{name} = _caffe_commands:main" for name in commands),
            "caffeonspark-submit = caffeonspark.submit:main",
            "draw_net = caffe.draw:main",
        ]
    },
)
