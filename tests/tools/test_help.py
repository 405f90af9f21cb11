"""Every tool's --help names every flag that it knows, and so does the reference."""

import re

import pytest
from command_line import TOOLS, Tool
from conftest import GOLDEN

FLAGS_PAGE = GOLDEN.parents[1] / "docs" / "reference" / "flags.md"
PROGRAMS = sorted(path.name for path in (GOLDEN.parents[1] / "tools").glob("*.cpp"))
COMMANDS = ["train", "test", "time", "plan", "device_query"]
CASES = [[name.removesuffix(".cpp")] for name in PROGRAMS if name != "caffe.cpp"] + [["caffe", c] for c in COMMANDS]
COMMON = {"minloglevel", "logtostderr", "alsologtostderr"}


@pytest.mark.parametrize("command", CASES, ids=" ".join)
def test_help_names_every_flag(tmp_path, command):
    tool = Tool(command[0], tmp_path)
    refusal = tool.fail(*command[1:], "-no_such_flag")
    known = set(re.findall(r"-(\w+)", refusal[refusal.index("(flags here: ") :]))
    assert known >= COMMON
    for word in ("--help", "-help", "-h"):
        text = tool.succeed(*command[1:], word).stdout
        assert set(re.findall(r"^  -(\w+)", text, re.MULTILINE)) == known
    assert text.startswith("usage: " + " ".join(command))
    assert re.search("examples?:", text)
    assert max(map(len, text.split("flags:")[1].splitlines())) <= 92
    page = FLAGS_PAGE.read_text()
    for flag in known:
        assert f"-{flag}" in page, f"{FLAGS_PAGE.name} does not name -{flag} of {command}"
    assert f"## {command[0]}" in page or f", {command[0]}" in page


def test_the_cases_are_all_programs():
    installed = {path.name for path in TOOLS.iterdir()}
    assert {name.removesuffix(".cpp") for name in PROGRAMS} <= installed


def test_caffe_lists_its_commands(tmp_path):
    for word in ("--help", "-help", "-h", "help"):
        text = Tool("caffe", tmp_path).succeed(word).stdout
        for command in COMMANDS:
            assert re.search(rf"^  {command} +\w", text, re.MULTILINE)
