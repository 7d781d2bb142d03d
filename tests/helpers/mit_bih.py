"""The description of MIT-BIH: two leads whose names and places differ, and ventricular beats."""

from pathlib import Path

MIT_BIH = """
[dataset]
name = "mit-bih"
version = "1.0.0"
license = "ODC-By 1.0; cite Moody and Mark, IEEE Eng Med Biol 20(3):45-50, 2001"

[files]
format = "wfdb"
path = "{record}.hea"

[window]
length = "10 s"

[signals.MLII]
unit = "mV"
rate = 360
channels = ["MLII", "ML2"]
range = [-10, 10]

[signals.V]
like = "MLII"
channels = ["V1", "V2", "V5"]

[annotations]
from = "wfdb"
path = "atr"

[task]
kind = "binary"
name = "ventricular beat"
event = ["V", "E"]
of = "window"
"""


def write_mit_bih(folder: Path, *changes: tuple[str, str]) -> Path:
    """Write the description with texts replaced by others."""
    text = MIT_BIH
    for old, new in changes:
        assert old in text, f"{old!r} is not in the description"
        text = text.replace(old, new)
    (folder / "mit-bih.toml").write_text(text)
    return folder / "mit-bih.toml"
