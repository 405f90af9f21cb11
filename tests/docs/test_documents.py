"""What the documentation names is there: files, headings, commands and their flags, settings; and its programs are programs."""

import ast
import importlib.util
import json
import re
import subprocess
import sys
from functools import cache
from pathlib import Path

import pytest
from caffe.proto import caffe_pb2
from documents import BLOCKS, FILES, anchors, blocks, commands, inline_code, parts
from google.protobuf import text_format
from places import ROOT, SPARK_HOME

BIN = Path(sys.executable).parent
# Of lessons, of other programs, and what comes into being in use.
TAUGHT = {"engine/layers/softsign_layer.cpp", "tests/engine/layers/softsign_test.cpp", "docker/work", "-name", "-fPIC"}
FOLDERS = {path.name for path in ROOT.iterdir() if path.is_dir()} - {"build", "dist"}


@cache
def help_of(*command: str) -> str:
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    return done.stdout + done.stderr


@cache
def sources() -> str:
    """All that was written by hand, but the documents."""
    endings = ("cpp", "h", "scala", "java", "py", "sh", "txt", "cmake", "xml", "yaml", "proto")
    listed = ["git", "ls-files", "--cached", "--others", "--exclude-standard", *(f"*.{ending}" for ending in endings)]
    names = subprocess.run(listed, cwd=ROOT, capture_output=True, text=True, check=True).stdout.splitlines()
    return "\n".join((ROOT / name).read_text(errors="replace") for name in names if (ROOT / name).is_file())


@cache
def spark_flags() -> set[str]:
    text = next((ROOT / "jvm").rglob("Flags.scala")).read_text()
    return {f"-{name}" for name in re.findall(r'"(\w+)"', text[text.index("val withValue") : text.index("val known")])}


@cache
def tool_flags(*command: str) -> set[str]:
    return {"-help", "--help"} | set(
        re.findall(r"^  (-\w+)", help_of(str(BIN / command[0]), *command[1:], "-help"), re.M)
    )


@cache
def every_flag() -> set[str]:
    tools = [path.stem for path in (ROOT / "tools").glob("*.cpp") if path.stem != "caffe"]
    of_caffe = [tool_flags("caffe", name) for name in ("train", "test", "time", "plan", "device_query")]
    return set.union(spark_flags(), *map(tool_flags, tools), *of_caffe)


def submit_problems(words: list[str]) -> list[str]:
    """Of `spark-submit` or `caffeonspark-submit` with what follows: options of Spark's, then the program's own."""
    known = set(re.findall(r"(?<=[\s,])(--?[\w-]+)", help_of(str(SPARK_HOME / "bin/spark-submit"), "--help")))
    program = next((word for word in words if word.endswith(".py")), None)
    problems = []
    before = words.index(program) if program else len(words)
    for at, word in enumerate(words):
        if not word.startswith("-") or word == "-":
            continue
        if program and at > before:
            if program.startswith("examples/") and f'"{word}"' not in (ROOT / program).read_text():
                problems.append(f"{program} does not know {word}")
        elif word not in known and word not in spark_flags() and word != "--explain":
            problems.append(f"spark-submit and CaffeOnSpark do not know {word}")
        elif word == "--class" and words[at + 1].rpartition(".")[2] not in sources():
            problems.append(f"there is no class {words[at + 1]}")
    return problems


def make_problems(words: list[str]) -> list[str]:
    targets = re.findall(r"^([\w-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE)
    return [f"make has no target {word}" for word in words if word not in targets]


def script_problems(script: Path, words: list[str]) -> list[str]:
    if not script.exists():
        return [f"there is no {script}"]
    text = script.read_text()
    if "run_tests.py" in text:
        text += (ROOT / "ci/run_tests.py").read_text()
    return [
        f"{script.name} does not know {word}"
        for word in words
        if word.startswith("--") and word.lstrip("-") not in text
    ]


def problems_of(words: list[str]) -> list[str]:
    """What is wrong with a command, as far as it is one of ours, in a container or not."""
    if words[0] == "docker":
        inside = [i for i, word in enumerate(words) if word in ("caffe", "caffeonspark-submit")]
        return problems_of(words[inside[0] :]) if inside else []
    program, rest = words[0].rpartition("/")[2], words[1:]
    if program in ("spark-submit", "caffeonspark-submit"):
        return submit_problems(rest)
    if program == "make":
        return make_problems(rest)
    if program == "cmake" and "--preset" in rest:
        presets = json.loads((ROOT / "CMakePresets.json").read_text())["configurePresets"]
        name = rest[rest.index("--preset") + 1]
        return [] if name in {each["name"] for each in presets} else [f"there is no preset {name}"]
    if program == "python" and rest and rest[0].endswith(".py"):
        return script_problems(ROOT / rest[0], rest[1:])
    if words[0].startswith(("ci/", "docker/", "examples/")) and words[0].endswith(".sh"):
        return script_problems(ROOT / words[0], rest)
    if (ROOT / f"tools/{program}.cpp").exists():
        named = rest[:1] if program == "caffe" and rest and not rest[0].startswith("-") else []
        known = tool_flags(program, *named)
        return [f"{program} does not know {word}" for word in rest if re.match(r"-[a-z]", word) and word not in known]
    return []


def test_commands_and_their_flags():
    found = [(block, words) for block in blocks("") for words in commands(block)]
    programs = {words[0].rpartition("/")[2] for _, words in found}
    assert {"caffe", "spark-submit", "caffeonspark-submit", "make", "convert_mnist_data", "run.sh"} <= programs
    wrong = [f"{block}: {problem}" for block, words in found for problem in problems_of(words)]
    assert not wrong, "\n".join(wrong)


def test_flags_commands_and_paths_in_the_text():
    wrong = []
    for file in FILES:
        for code in inline_code(parts(file)[1]):
            name = file.relative_to(ROOT)
            words = code.split()
            if words[0] in TAUGHT:
                continue
            wrong += [f"{name}: {problem}" for problem in problems_of(words)]
            if re.fullmatch(r"-[a-z][A-Za-z_]+", words[0]) and words[0] not in every_flag():
                wrong.append(f"{name}: no program knows {words[0]}")
            is_path = re.fullmatch(r"[\w.-]+/[\w./*-]*", words[0]) and words[0].split("/")[0] in FOLDERS
            if is_path and not list(ROOT.glob(words[0].rstrip("/"))):
                wrong.append(f"{name}: there is no {words[0]}")
            if re.fullmatch(r"\w+Suite", code) and not list((ROOT / "jvm").rglob(f"{code}.scala")):
                wrong.append(f"{name}: there is no {code}")
    assert not wrong, "\n".join(wrong)


def test_links_lead_somewhere():
    wrong = []
    for file in FILES:
        for target in re.findall(r"\]\(([^)\s]+)\)", parts(file)[1]):
            if re.match(r"\w+://", target):
                continue
            path, _, anchor = target.partition("#")
            there = (file.parent / path).resolve() if path else file
            if not there.exists() or (anchor and anchor not in anchors(there)):
                wrong.append(f"{file.relative_to(ROOT)}: {target}")
    assert not wrong, "\n".join(wrong)


def test_environment_variables_and_properties_of_ours():
    page = (ROOT / "docs/reference/flags.md").read_text()
    wrong = []
    for file in FILES:
        text = file.read_text()
        for name in sorted(set(re.findall(r"\bCAFFE(?:ONSPARK)?_[A-Z_]+\b", text))):
            if name not in sources():
                wrong.append(f"{file.name}: nothing reads {name}")
        for name in sorted(set(re.findall(r"\bspark\.caffe\.\w+", text))):
            if f'"{name}"' not in sources() or f"`{name}`" not in page:
                wrong.append(f"{file.name}: {name} is not a property that {page[:20]!r} describes")
    assert not wrong, "\n".join(wrong)


@pytest.mark.parametrize("block", blocks("python"), ids=str)
def test_python(block):
    """It compiles, and what it imports of ours and asks our modules for is there."""
    tree = ast.parse(block.text)
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.module.split(".")[0] in ("caffe", "caffeonspark", "com"):
            module = importlib.import_module(node.module)
            assert [item.name for item in node.names if not hasattr(module, item.name)] == []
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "caffeonspark":
            assert hasattr(importlib.import_module("caffeonspark"), node.attr), node.attr


def test_prototxts():
    """Layers are read by protobuf itself; there are no other ones in blocks."""
    texts = [block for block in BLOCKS if re.match(r"layers? \{", block.text)]
    assert len(texts) > 5
    for block in texts:
        try:
            net = text_format.Parse(block.text, caffe_pb2.NetParameter())
        except text_format.ParseError as error:
            pytest.fail(f"{block}: {error}")
        for layer in net.layer:
            assert layer.type and layer.name, block


SCALA = """
object Block{number} {{
  def run(sc: org.apache.spark.SparkContext, args: Array[String], labelled: org.apache.spark.sql.DataFrame,
      held: org.apache.spark.sql.DataFrame, pictures: org.apache.spark.sql.DataFrame): Any = {{
{text}
  }}
}}
"""


def test_scala_compiles(tmp_path):
    """All blocks at once, by the compiler that comes with Spark."""
    programs = [SCALA.format(number=i, text=block.text) for i, block in enumerate(blocks("scala"))]
    assert len(programs) >= 3
    (tmp_path / "Blocks.scala").write_text("".join(programs))
    (jar,) = (ROOT / "dist").glob("*.jar")
    jars = f"{SPARK_HOME}/jars/*"
    command = ["java", "-cp", jars, "scala.tools.nsc.Main", "-usejavacp", "-cp", f"{jars}:{jar}", "-d", str(tmp_path)]
    done = subprocess.run(
        [*command, tmp_path / "Blocks.scala"], capture_output=True, text=True, timeout=180, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
