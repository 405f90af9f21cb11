"""Checks that the parts of the source tree include each other only in the permitted direction.

usage: check_includes.py [FOLDER]     prints "file:line: part may not include part" and exits 1 where one does not
"""

import re
import sys
from pathlib import Path

# Part -> the parts it may include, besides itself. engine/ is an include root: its parts are named without it.
ENGINE = {"core", "proto", "kernels", "data", "io", "layers", "backends", "net", "solvers"}
ALLOWED = {
    "core": set(),
    "kernels": {"core"},
    "data": {"core", "proto"},
    "io": {"core", "proto"},
    "layers": {"core", "proto", "kernels", "data", "io"},
    "backends": {"core", "proto", "kernels", "layers"},
    "net": {"core", "proto", "kernels", "layers", "backends", "io"},
    "solvers": {"core", "proto", "kernels", "layers", "net", "io"},
    "collective": {"core"},
    "capi": ENGINE | {"collective"},
    "jvm": {"capi"},
    "tools": ENGINE,
    "python": ENGINE,
}
INCLUDE = re.compile(r'\s*#\s*include\s*"([^"]+)"')


def part_of(path):
    """The part that a source file, named from the root of the tree, belongs to; None for those without rules."""
    parts = path.parts
    name = parts[1] if parts[0] == "engine" and len(parts) > 2 else parts[0]
    return name if name in ALLOWED else None


def violations(root):
    for path in sorted(root.rglob("*")):
        relative = path.relative_to(root)
        if path.suffix not in (".h", ".cpp") or relative.parts[0] in ("build", ".venv"):
            continue
        part = part_of(relative)
        if part is None:
            continue
        for number, line in enumerate(path.read_text().splitlines(), 1):
            found = INCLUDE.match(line)
            target = Path(found.group(1)).parts if found else ()
            if len(target) < 2 or target[0] not in ALLOWED and target[0] != "proto":
                continue
            if target[0] != part and target[0] not in ALLOWED[part]:
                yield f"{relative}:{number}: {part} may not include {target[0]} ({found.group(1)})"


def main():
    root = Path(sys.argv[1] if len(sys.argv) > 1 else Path(__file__).resolve().parent.parent)
    found = list(violations(root))
    print("\n".join(found) if found else "includes: every part includes only what it may")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
