"""ci/docs.py: the reference is what the sources say, and says all they say."""

import importlib.util
import re
import subprocess
import sys
from pathlib import Path

import pytest
from google.protobuf import descriptor

ROOT = Path(__file__).resolve().parents[2]
SCRIPT = ROOT / "ci/docs.py"


@pytest.fixture(scope="module")
def docs():
    spec = importlib.util.spec_from_file_location("docs", SCRIPT)
    module = importlib.util.module_from_spec(spec)
    sys.modules["docs"] = module
    spec.loader.exec_module(module)
    return module


def test_the_reference_is_up_to_date():
    result = subprocess.run([sys.executable, SCRIPT, "--check"], capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stdout + result.stderr


def test_every_flag_has_a_property_and_a_description(docs):
    text = (docs.SCALA / "Flags.scala").read_text()
    known = set(re.findall(r'"(\w+)"', text[text.index("val withValue") : text.index("val known")]))
    assert len(known) > 20
    assert set(re.findall(r"\| `-(\w+)` \|", docs.config_page())) == known
    assert docs.missing_flags() == []


def test_every_layer_type_has_a_section():
    import caffe

    page = (ROOT / "docs/reference/layers.md").read_text()
    assert set(caffe.layer_type_list()) == set(re.findall(r"^## (\w+)$", page, re.MULTILINE)) & set(
        caffe.layer_type_list()
    )


def test_types_and_defaults_are_those_of_the_messages(docs):
    """Against protobuf's own reading of the file."""
    from caffe.proto import caffe_pb2

    messages = docs.read_proto((ROOT / docs.PROTO).read_text())
    for name, message in messages.items():
        kind = getattr(caffe_pb2, name, None) or getattr(caffe_pb2.CoSDataParameter, name)
        assert set(message.fields) == set(kind.DESCRIPTOR.fields_by_name), name
        for item in kind.DESCRIPTOR.fields:
            found = message.fields[item.name]
            assert found.number == item.number
            assert found.repeated == (item.label == descriptor.FieldDescriptor.LABEL_REPEATED)
            if not item.has_default_value:
                assert found.default == ""
            elif item.enum_type:
                assert found.default == item.enum_type.values_by_number[item.default_value].name
            elif isinstance(item.default_value, bool):
                assert found.default == str(item.default_value).lower()
            elif isinstance(item.default_value, str):
                assert found.default == item.default_value
            else:
                assert float(found.default) == pytest.approx(item.default_value)


def test_a_field_without_a_comment_is_refused(docs):
    messages = docs.read_proto(
        "message M {\n  optional int32 good = 1;  // says something\n  optional int32 bad = 2;\n}\n"
    )
    with pytest.raises(SystemExit, match="field bad of M has no comment"):
        docs.describe(messages, "M")


def test_comments_stand_above_or_behind_a_field(docs):
    text = "// What it is.\nmessage M {\n  // above\n  optional E e = 1 [default = B];  // and behind\n  enum E {\n    B = 0;\n  }\n}\n"
    message = docs.read_proto(text)["M"]
    assert (message.about, message.fields["e"].about, message.enums) == (
        "What it is.",
        "above and behind",
        {"E": ["B"]},
    )
