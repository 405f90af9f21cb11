"""Every setting of Spark that the code reads is in the table of docs/reference/flags.md, with its default, and no other."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
SOURCES = sorted(ROOT.glob("jvm/*/src/main/**/*.scala")) + sorted(ROOT.glob("jvm/*/src/main/**/*.java"))
TABLE = (ROOT / "docs/reference/flags.md").read_text()
ROWS = dict(re.findall(r"^\| `(spark\.caffe\.\w+)` \|([^|]*)\|", TABLE, re.MULTILINE))
TEXTS = {path: path.read_text() for path in SOURCES}
# In the table's words where the code has none.
WORDS = {"", "chosen", "as Spark"}


def names(text):
    return set(re.findall(r'"(spark\.caffe\.\w+)"', text))


def constants():
    """(setting, file, the constant that holds its name)"""
    for path, text in TEXTS.items():
        for constant, name in re.findall(r'val (\w+) = "(spark\.caffe\.\w+)"', text):
            yield name, path, constant


def defaults(name):
    """What stands behind the setting's constant where it is read: literals, or constants of the same file."""
    found = set()
    for setting, _, constant in constants():
        if setting != name:
            continue
        for text in TEXTS.values():
            for literal, other in re.findall(rf'\b{constant}, (?:\w+ = )?(?:"([^"]*)"|(\w+(?:\.\w+)?))[,)]', text):
                value = re.search(rf'val {other} = "?(\w+)"?$', text, re.MULTILINE) if other else None
                found.add(value[1] if value else literal or other)
    return found


def test_the_table_has_every_setting_and_no_other():
    assert set().union(*map(names, TEXTS.values())) == set(ROWS)


@pytest.mark.parametrize("name", sorted(ROWS))
def test_the_table_has_the_default_of_the_code(name):
    told = ROWS[name].strip().strip("`")
    if told not in WORDS:
        assert told in defaults(name), f"{name}: the table says {told}, the code {defaults(name)}"
