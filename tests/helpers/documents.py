"""The documents of the project, and the blocks of code in them."""

from __future__ import annotations

import re
from pathlib import Path
from typing import NamedTuple

from tests.helpers.run_settings import PROJECT

DOCUMENTS = sorted([*PROJECT.glob("*.md"), *PROJECT.glob("docs/**/*.md")])
FENCED = re.compile(r"^```([^\n]*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


class Block(NamedTuple):
    """A fenced block of code.

    Attributes
    ----------
    language : first word after the fence, such as bash
    title : name of the file that the block shows, after `title=`, or ""
    text : its lines
    """

    language: str
    title: str
    text: str


def name_of(path: Path) -> str:
    """Return the name of a document in the project, which names its tests."""
    return path.relative_to(PROJECT).as_posix()


def read_blocks(path: Path, language: str = "") -> list[Block]:
    """Return the blocks of a document in their order, of one language if it is given."""
    blocks = []
    for head, text in FENCED.findall(path.read_text(encoding="utf-8")):
        words = head.split()
        title = re.search(r'title="([^"]*)"', head)
        blocks.append(Block(words[0] if words else "", title[1] if title else "", text))
    return [block for block in blocks if not language or block.language == language]


def read_lines(block: Block) -> list[str]:
    """Return the lines of a block, where a backslash at the end of a line joins it with the next."""
    return block.text.replace("\\\n", " ").splitlines()
