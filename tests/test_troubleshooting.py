"""The messages in docs/troubleshooting.md are those of the program."""

import ast
import re
from pathlib import Path

import pytest

PROJECT = Path(__file__).parents[1]
PACKAGES = ("client_app", "condi_core", "data_partitions", "server_app")
OF_OTHERS = {"database is locked"}  # a message of SQLite


def quoted_messages() -> list[str]:
    """Return the messages in the first column of the tables: code in which … may stand for a part."""
    text = (PROJECT / "docs" / "troubleshooting.md").read_text(encoding="utf-8")
    cells = [line.split(" | ")[0] for line in text.splitlines() if line.startswith("| `")]
    return [match[1] for cell in cells if (match := re.match(r"\| `([^`]*)`", cell)) and " " in match[1]]


def texts_of_the_program() -> str:
    """Return all texts in the source, one a line; a text with inserted values has several parts."""
    lines = []
    for file in (path for package in PACKAGES for path in (PROJECT / package).rglob("*.py")):
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Constant) and isinstance(node.value, str):
                lines.append(node.value)
    return "\n".join(lines)


@pytest.mark.slow
def test_each_message_is_one_of_the_program():
    messages, texts = quoted_messages(), texts_of_the_program()
    assert len(messages) > 20
    for message in set(messages) - OF_OTHERS:
        assert all(part.strip() in texts for part in message.split("…")), message
