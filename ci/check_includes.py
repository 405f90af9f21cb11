"""Checks that the parts of the source tree include each other only in the permitted direction.

usage: check_includes.py [FOLDER]     prints "file:line: part may not include part" and exits 1 where one does not
"""

import re
import sys
from pathlib import Path

# Part -> the parts it may include, besides itself. engine/ is an include root: its parts are named without it.
ENGINE = {"core", "proto", "kernels", "data", "upgrade", "io", "layers", "backends", "net", "solvers"}
ALLOWED = {
    "core": set(),
    "kernels": {"core"},
    "data": {"core", "proto"},
    "upgrade": {"core", "proto"},
    "io": {"core", "proto", "data", "upgrade"},
    "layers": {"core", "proto", "kernels", "data", "io"},
    "backends": {"core", "proto", "kernels", "layers"},
    "net": {"core", "proto", "kernels", "layers", "backends", "io", "upgrade"},
    "solvers": {"core", "proto", "kernels", "layers", "net", "io"},
    "collective": {"core"},
    "capi": ENGINE | {"collective"},
    "jvm": {"capi"},
    "tools": ENGINE | {"collective"},
    "python": ENGINE | {"tools"},  # the command `caffe` inside of an interpreter
}
INCLUDE = re.compile(r'\s*#\s*include\s*"([^"]+)"')


def part_of(parts):
    """The part that a file belongs to, given as the pieces of its path below an include root; else None."""
    if parts[0] == "net" and len(parts) == 2 and Path(parts[1]).stem == "upgrade":
        return "upgrade"  # turns old messages into new ones; knows nothing of nets
    return parts[0] if parts[0] in ALLOWED or parts[0] == "proto" else None


def violations(root):
    for path in sorted(root.rglob("*")):
        relative = path.relative_to(root)
        if path.suffix not in (".h", ".cpp") or relative.parts[0] in ("build", ".venv"):
            continue
        part = part_of(relative.parts[1:] if relative.parts[0] == "engine" else relative.parts)
        if part is None:
            continue
        for number, line in enumerate(path.read_text().splitlines(), 1):
            found = INCLUDE.match(line)
            target = part_of(Path(found.group(1)).parts) if found and "/" in found.group(1) else None
            if target is not None and target != part and target not in ALLOWED[part]:
                yield f"{relative}:{number}: {part} may not include {target} ({found.group(1)})"


def main():
    root = Path(sys.argv[1] if len(sys.argv) > 1 else Path(__file__).resolve().parent.parent)
    found = list(violations(root))
    print("\n".join(found) if found else "includes: every part includes only what it may")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
