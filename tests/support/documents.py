"""The Markdown files of the project: their blocks of code, commands, links and inline code."""

import re
import shlex
from dataclasses import dataclass
from pathlib import Path

from places import ROOT

FILES = sorted(
    path
    for pattern in ("*.md", "docs/**/*.md", "examples/**/*.md", "docker/*.md", "data/*.md")
    for path in ROOT.glob(pattern)
)


@dataclass(frozen=True)
class Block:
    file: Path
    line: int  # of its first line
    language: str
    text: str

    def __str__(self):
        return f"{self.file.relative_to(ROOT)}:{self.line}"


def parts(file: Path) -> tuple[list[Block], str]:
    """The fenced blocks of a file, and what is left without them."""
    blocks, prose, fence, lines = [], [], None, []
    for number, line in enumerate(file.read_text().splitlines(), 1):
        if line.startswith("```"):
            if fence is None:
                fence, lines, first = line.removeprefix("```").strip(), [], number + 1
            else:
                blocks.append(Block(file, first, fence, "\n".join(lines) + "\n"))
                fence = None
        elif fence is None:
            prose.append(line)
        else:
            lines.append(line)
    assert fence is None, f"{file}: a block has no end"
    return blocks, "\n".join(prose)


BLOCKS = [block for file in FILES for block in parts(file)[0]]


def blocks(language: str) -> list[Block]:
    return [block for block in BLOCKS if block.language == language]


def commands(block: Block) -> list[list[str]]:
    """The words of each command of a block without a language, as far as a shell would take them for a command line."""
    found = []
    for line in block.text.replace("\\\n", " ").splitlines():
        for command in re.split(r"\s(?:&&|\|)\s|;\s", line):
            try:
                words = shlex.split(command, comments=True)
            except ValueError:  # not for a shell
                continue
            while words and re.fullmatch(r"[A-Z_]+=.*", words[0]):
                words.pop(0)
            if words:
                found.append(words)
    return found


def inline_code(prose: str) -> list[str]:
    """What stands between backquotes, also where a line ends inside."""
    return [re.sub(r"\s+", " ", code) for code in re.findall(r"`([^`]+)`", prose)]


def anchors(file: Path) -> set[str]:
    """The names that GitHub gives the headings."""
    titles = re.findall(r"^#+ (.*)$", parts(file)[1], re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", title.lower()).strip().replace(" ", "-") for title in titles}
