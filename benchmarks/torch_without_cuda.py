"""Lets PyTorch's wheel from PyPI run on a machine without CUDA's libraries, which are gigabytes that a CPU never uses.

usage: torch_without_cuda.py SITE_PACKAGES      where torch and nvidia-cuda-runtime are installed with --no-deps

The wheel's libraries link against cuBLAS, cuDNN and others. In place of each that is missing this puts one that has the
symbols asked for, each a trap, beside the wheel's own. Needs gcc and binutils.
"""

import collections
import pathlib
import re
import subprocess
import sys
import tempfile

PREFIXES = {  # of the symbols of libraries that do not version them
    "libcublas.": "cublas(?!Lt)",
    "libcublasLt.": "cublasLt",
    "libcudnn.": "cudnn",
    "libcufft.": "cufft",
    "libcufile.": "cuFile",
    "libcupti.": "cupti",
    "libcusparse.": "cusparse(?!Lt)",
    "libcusparseLt.": "cusparseLt",
    "libnccl.": "p?nccl",
    "libnvrtc.": "nvrtc",
    "libnvshmem_host.": "nvshmem",
}


def output(*command):
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


def inspect(libraries):
    """Names of the libraries that these need; their undefined symbols with the version asked for ("": none)."""
    needed, undefined, defined = set(), {}, set()
    for library in libraries:
        needed |= set(re.findall(r"NEEDED.*\[(.*?)\]", output("readelf", "-d", str(library))))
        for line in output("nm", "-D", str(library)).splitlines():
            kind, symbol = line.split()[-2:]
            name, _, version = symbol.partition("@")
            if kind == "U":
                undefined[name] = version.lstrip("@")
            elif kind in "TDBRVWiu":
                defined.add(name)
    return needed, {name: version for name, version in undefined.items() if name not in defined}


def write_library(path, symbols):
    by_version = collections.defaultdict(list)
    for name, version in symbols.items():
        by_version[version].append(name)
    with tempfile.TemporaryDirectory() as folder:
        source, versions = pathlib.Path(folder, "traps.s"), pathlib.Path(folder, "versions.map")
        labels = "".join(f".globl {name}\n.type {name},@function\n{name}:\n" for name in symbols)
        source.write_text(f".text\n{labels}ud2\n")
        versions.write_text(
            "".join(f"{v} {{ global: {' '.join(f'{n};' for n in names)} }};\n" for v, names in by_version.items() if v)
        )
        script = [f"-Wl,--version-script={versions}"] if versions.read_text() else []
        output("gcc", "-shared", "-nostdlib", "-o", str(path), f"-Wl,-soname,{path.name}", str(source), *script)


def main(site):
    folder = pathlib.Path(site, "torch", "lib")
    needed, undefined = inspect(sorted(folder.glob("lib*.so")))
    for library in sorted(needed):
        prefix = next((PREFIXES[start] for start in PREFIXES if library.startswith(start)), None)
        if prefix is None or (folder / library).exists():
            continue
        versioned = {name for name, version in undefined.items() if version.startswith("lib")}
        symbols = {
            name: version
            for name, version in undefined.items()
            if version == library or (name not in versioned and re.match(prefix, name))
        }
        write_library(folder / library, symbols)


if __name__ == "__main__":
    main(sys.argv[1])
