"""A small description of a data set, for tests that change a line of it."""

from pathlib import Path

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
