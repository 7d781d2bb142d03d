"""A small description of a data set, for tests that change a line of it, and its preparation."""

from pathlib import Path

from typer.testing import CliRunner

from data_partitions.partition import Partition
from server_app.cli import app

ONE_SITE = ("--site", "north")

HOLTER = """\
[dataset]
name = "holter"
version = "1"

[files]
format = "wfdb"
path = "{record}.hea"

[table]
path = "labels.csv"
record = "record"
patient = "patient"

[window]
length = "10 s"

[signals.CC5]
unit = "mV"
rate = 250
channels = ["CC5", "ch1"]
range = [-10, 10]

[signals.CM5]
like = "CC5"
channels = ["CM5"]

[task]
kind = "single-label"
column = "label"
classes = { sinus = ["SR", "N"], afib = ["AF"] }

[covariates.age]
unit = "years"
"""


def write_description(folder: Path, *changes: tuple[str, str], name: str = "dataset.toml") -> Path:
    """Write the description with texts replaced by others, each of which it must contain."""
    text = HOLTER
    for old, new in changes:
        assert old in text, f"{old!r} is not in the description"
        text = text.replace(old, new, 1)
    path = folder / name
    path.write_text(text, encoding="utf-8")
    return path


def prepare(description, source, out, *options):
    words = ["prepare", description, "--source", source, "--out", out, *options]
    return CliRunner().invoke(app, [str(word) for word in words], env={"COLUMNS": "200"})


def open_prepared(description, source, out, *options):
    result = prepare(description, source, out, *(options or ONE_SITE))
    assert result.exit_code == 0, result.output
    return Partition.open(out)
