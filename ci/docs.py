"""Writes layers.md, solver.md and config.md of docs/reference from the comments of caffe.proto, the layers, the solvers
and Config.scala, and checks that flags.md names every flag of spark-submit.

usage: docs.py [--check]     --check writes nothing and exits 1 where a file is not what would be written
"""

import re
import sys
from dataclasses import dataclass, field
from itertools import takewhile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PROTO = "engine/proto/caffe.proto"
NOTE = "<!-- Written by `make docs` from the sources; changes belong there. -->\n"
# Messages that several layers use: described once, at the end of layers.md.
COMMON = ["TransformationParameter", "LossParameter", "FillerParameter", "ParamSpec", "NetStateRule", "BlobShape"]
# Classes whose comment says what the layers derived from them compute.
SHARED = {"RecurrentLayer"}


# ---- caffe.proto ----


@dataclass
class Field:
    name: str
    kind: str  # "uint32", "FillerParameter"
    repeated: bool
    required: bool
    default: str
    about: str
    number: int


@dataclass
class Message:
    about: str
    fields: dict = field(default_factory=dict)
    enums: dict = field(default_factory=dict)


FIELD = re.compile(
    r"(optional|repeated|required) ([\w.]+) (\w+) = (\d+)(?: \[(.*?)\])?;(?:\s*// (.*))?",
)


def read_proto(text):
    """The messages by name, enums and nested messages within them; comments stand above a field or behind it."""
    messages, stack, comment = {}, [], []
    for line in map(str.strip, text.splitlines()):
        if line.startswith("//"):
            comment.append(line[2:].strip())
            continue
        opened = re.match(r"(message|enum) (\w+) \{", line)
        found = FIELD.match(line)
        value = re.match(r"(\w+) = \d+;", line)
        if opened:
            stack.append(opened[2])
            if opened[1] == "message":
                messages[opened[2]] = Message(" ".join(comment))
            elif len(stack) > 1:
                messages[stack[-2]].enums[opened[2]] = []
        elif line == "}":
            stack.pop()
        elif found:
            label, kind, name, number, options, behind = found.groups()
            default = re.search(r"default = (\S+)", options or "")
            messages[stack[-1]].fields[name] = Field(
                name,
                kind,
                label == "repeated",
                label == "required",
                default[1].strip('"') if default else "",
                " ".join([*comment, *([behind] if behind else [])]),
                int(number),
            )
        elif value and len(stack) > 1:
            messages[stack[-2]].enums[stack[-1]].append(value[1])
        comment = []
    return messages


def escaped(text):
    return text.replace("|", "\\|").replace("<", "&lt;")


def describe(messages, name, chosen=None, common=""):
    """A table of the fields of a message, or of those `chosen`. COMMON messages are described on the page `common`."""
    message = messages[name]
    rows = ["| field | type | default | meaning |", "|---|---|---|---|"]
    for item in message.fields.values():
        if chosen is not None and item.name not in chosen:
            continue
        if not item.about:
            raise SystemExit(f"{PROTO}: field {item.name} of {name} has no comment, which would be its description")
        kind = item.kind.split(".")[-1]
        if kind in message.enums:
            kind = ", ".join(message.enums[kind])
        elif kind in COMMON:
            kind = f"[{kind}]({common}#{kind.lower()})"
        more = ", repeated" if item.repeated else ", required" if item.required else ""
        rows.append(f"| `{item.name}` | {kind}{more} | {escaped(item.default)} | {escaped(item.about)} |")
    return "\n".join(rows) + "\n" if len(rows) > 2 else ""


# ---- layers ----


def comment_above(text, position):
    """The comment that ends right above a position, without what stands between (`template`)."""
    lines = text[:position].splitlines()
    while lines and lines[-1].startswith("template"):
        lines.pop()
    block = []
    while lines and lines[-1].startswith("//"):
        block.insert(0, lines.pop())
    return [line[2:].removeprefix(" ") for line in block]


# The second one's layers are there in the Python module only.
LAYER_FOLDERS = (ROOT / "engine/layers", ROOT / "python/caffe/src")


def files(folders, pattern):
    return [path for folder in folders for path in sorted(folder.glob(pattern))]


@dataclass
class Class:
    text: str  # of its file from its name on, to the next class
    base: str
    about: list  # lines


def read_classes(folders):
    classes, aliases = {}, {}
    for path in files(folders, "*"):
        text = path.read_text()
        found = list(re.finditer(r"^class (\w+)(?: final)? : public (\w+)", text, re.MULTILINE))
        for i, match in enumerate(found):
            end = found[i + 1].start() if i + 1 < len(found) else len(text)
            classes[match[1]] = Class(text[match.start() : end], match[2], comment_above(text, match.start()))
        if path.suffix == ".h" or not found:
            continue
        # A file's helpers stand above its class, and its members may follow below another one.
        classes[found[-1][1]].text += text[: found[0].start()]
        for match in re.finditer(r"^using (\w+) = (\w+)<", text, re.MULTILINE):
            aliases[match[1]] = (match[2], comment_above(text, match.start()))
    # A class that a header declares has its members in the source file of the same name.
    for path in files(folders, "*_layer.h"):
        source = path.with_suffix(".cpp")
        for match in re.finditer(r"^class (\w+) : public", path.read_text(), re.MULTILINE):
            if source.exists():
                classes[match[1]].text += source.read_text()
    return classes, aliases


def chain(classes, name):
    while name in classes:
        yield classes[name]
        name = classes[name].base


def arity(classes, name, which):
    """ "1", "2 or more", "1 to 2"; "" where it depends on the parameters: the comment says how."""
    for item in chain(classes, name):
        match = re.search(rf"Arity {which}\(\) const override \{{(.*?)\n?\s*\}}\n", item.text, re.DOTALL)
        if not match:
            continue
        call = re.fullmatch(r"\s*return Arity::(\w+)\((\w+)(?:, (\w+))?\);\s*", match[1])
        if not call or not call[2].isdigit() or not (call[3] or "0").isdigit():
            return ""
        forms = {"exactly": "{0}", "at_least": "{0} or more", "between": "{0} to {1}"}
        return forms[call[1]].format(call[2], call[3])
    return "1"


def paragraph(lines):
    """Comment lines as Markdown: an indented part is kept as it stands."""
    text, code = [], []
    for line in [*lines, ""]:
        if line.startswith("  "):
            code.append(line)
            continue
        if code:
            text += ["", "```", *[row[2:] for row in code], "```", ""]
            code = []
        text.append(escaped(line))
    return "\n".join(text).strip() + "\n"


def layers_page(messages):
    classes, aliases = read_classes(LAYER_FOLDERS)
    fields = messages["LayerParameter"].fields
    types = {}
    for path in files(LAYER_FOLDERS, "*.cpp"):
        for kind, name in re.findall(r"^CAFFE_REGISTER_LAYER\((\w+), (\w+)\);", path.read_text(), re.MULTILINE):
            types[kind] = name
    parts = [f"# Layers\n{NOTE}"]
    parts.append(
        "Every layer type: the blobs it reads (bottoms) and writes (tops), what it computes, its parameters.\n"
    )
    parts.append(", ".join(f"[{kind}](#{kind.lower()})" for kind in sorted(types, key=str.lower)) + "\n")
    for kind in sorted(types, key=str.lower):
        name, about = aliases.get(types[kind], (types[kind], []))
        if name not in classes:
            raise SystemExit(f"engine/layers: found no `class {name} : public ...` for the layer type {kind}")
        about = about or classes[name].about
        if not about:
            raise SystemExit(f"engine/layers: class {name} has no comment above it, which would be its description")
        base = classes[name].base
        general = (
            list(takewhile(lambda line: not line.startswith("Self "), classes[base].about)) if base in SHARED else []
        )
        counts = [(which, arity(classes, name, which)) for which in ("bottoms", "tops")]
        known = [f"{count} {which[:-1] if count == '1' else which}" for which, count in counts if count]
        parts.append(f"## {kind}\n" + (", ".join(known).capitalize() + ".\n\n" if known else "") + paragraph(about))
        if base in SHARED:
            parts.append(paragraph(list(general)))
        code = "".join(item.text for item in chain(classes, name))
        used = [item for item in fields if re.search(rf"\b{item}\(\)", code) and fields[item].number >= 100]
        for item in used:
            message = fields[item].kind
            if message in COMMON:
                parts.append(f"`{item}`: [{message}](#{message.lower()})\n")
            elif message in messages:
                parts.append(f"`{item}`:\n\n" + describe(messages, message))
    shared = [item.name for item in fields.values() if item.number < 100]
    parts.append("## Fields of every layer\n" + describe(messages, "LayerParameter", shared))
    for message in COMMON:
        parts.append(f"## {message}\n{messages[message].about}\n\n" + describe(messages, message))
    return "\n".join(parts)


# ---- solvers ----


def solver_page(messages):
    parts = [f"# The solver file\n{NOTE}"]
    parts.append("Formulas of the update rules and learning rates: [solvers.md](solvers.md).\n")
    parts.append("## Types\n")
    for path in sorted((ROOT / "engine/solvers").glob("*_solver.cpp")):
        text = path.read_text()
        for kind, name in re.findall(r"^CAFFE_REGISTER_SOLVER\((\w+), (\w+)\);", text, re.MULTILINE):
            about = comment_above(text, re.search(rf"^class {name}\b", text, re.MULTILINE).start())
            if not about:
                raise SystemExit(f"{path}: class {name} has no comment above it, which would be its description")
            parts.append(f"`{kind}`: {escaped(' '.join(about))}\n")
    for name in ("SolverParameter", "NetState", "SolverState", "NetParameter"):
        parts.append(f"## {name}\n{messages[name].about}\n\n" + describe(messages, name, common="layers.md"))
    return "\n".join(parts)


# ---- Spark ----

SCALA = ROOT / "jvm/spark/src/main/scala/com/yahoo/ml/caffe"
PROPERTY = re.compile(r"^  (?:/\*\* (.*?) \*/\n  )?(var|def) (\w+): ([\w\[\]]+) =[ \n]+(.+)$", re.MULTILINE)


def config_page():
    """The properties of Config, with the flags of the same meaning."""
    read = (SCALA / "Config.scala").read_text()
    text = read[: read.index("private[caffe] def spark:")]
    parts = [f"# Config\n{NOTE}"]
    parts.append(
        "What a job does, as properties of `com.yahoo.ml.caffe.Config` (Scala) and `caffeonspark.Config` (Python):\n"
        '`config.modelPath` reads one, `config.modelPath = "…"` sets it. Flags: [flags.md](flags.md).\n'
    )
    rows = ["| property | type | default | flag | meaning |", "|---|---|---|---|---|"]
    for about, kind, name, scala, default in PROPERTY.findall(text):
        if not about:
            raise SystemExit(f"{SCALA}/Config.scala: {name} has no comment above it, which would be its description")
        settable = kind == "var" or f"def {name}_=(" in text
        flag = re.search(rf'flags\.\w+\("(\w+)"\)\.foreach\({name} = _\)|\b{name} = flags\.has\("(\w+)"\)', read)
        flag = SPECIAL.get(name, flag and (flag[1] or flag[2]))
        plain = kind == "var" and default != "_"
        shown = DEFAULTS.get(name, default if plain else "") if settable else "read only"
        rows.append(
            f"| `{name}` | {escaped(scala)} | {escaped(shown)} | {f'`-{flag}`' if flag else ''} | {escaped(about)} |"
        )
    parts.append("\n".join(rows) + "\n")
    return "\n".join(parts)


# Flags that Config reads in a way of its own, and defaults that are not in the property's line.
SPECIAL = {
    "protoFile": "conf",
    "isTest": "test",
    "isFeature": "features",
    "clusterSize": "clusterSize",
    "connection": "connection",
}
DEFAULTS = {
    "label": '"label"',
    "devices": "1",
    "connection": "2",
    "clusterSize": "",
    "isTest": "false",
    "isFeature": "false",
}


def missing_flags():
    """Flags that the program knows and flags.md does not name."""
    lists = re.findall(r"val (?:withValue|switches) = Seq\((.*?)\)", (SCALA / "Flags.scala").read_text(), re.DOTALL)
    known = re.findall(r'"(\w+)"', "".join(lists))
    page = (ROOT / "docs/reference/flags.md").read_text()
    return [flag for flag in known if f"`-{flag}`" not in page]


def main():
    if missing := missing_flags():
        print(f"docs/reference/flags.md does not describe {', '.join('-' + flag for flag in missing)}")
        return 1
    messages = read_proto((ROOT / PROTO).read_text())
    pages = {"layers.md": layers_page(messages), "solver.md": solver_page(messages), "config.md": config_page()}
    stale = []
    for name, text in pages.items():
        path = ROOT / "docs/reference" / name
        if not path.exists() or path.read_text() != text:
            stale.append(f"docs/reference/{name}")
            if "--check" not in sys.argv:
                path.write_text(text)
    if "--check" in sys.argv and stale:
        print(f"{', '.join(stale)}: not what the sources say now; run `make docs` and commit the result")
        return 1
    print("docs: " + (", ".join(stale) + " written" if stale else "up to date"))
    return 0


if __name__ == "__main__":
    sys.exit(main())
