"""The header of a WFDB record (Moody, WFDB Applications Guide, header(5)), as PTB-XL writes it.

`wfdb.rdheader` gives the same but takes thirty times as long, which is nearly all of the time of reading a
short record. A test checks that the two agree.
"""

import re
from pathlib import Path
from typing import NamedTuple

# record  number-of-signals  sampling-frequency  number-of-samples
_RECORD_LINE = re.compile(r"\S+\s+(\d+)\s+(\d+(?:\.\d+)?)\s+(\d+)\b.*")
# file  format  gain(baseline)/units  resolution  zero  initial-value  checksum  block-size  description
_SIGNAL_LINE = re.compile(
    r"(\S+)\s+(\d+)\s+([\d.eE+-]+)(?:\((-?\d+)\))?/(\S+)\s+\d+\s+(-?\d+)(?:\s+-?\d+){3}\s+(.+)"
)


class WfdbSignal(NamedTuple):
    """The line of one signal: physical value = (sample - baseline) / gain, in `unit`."""

    file: str
    format: str
    gain: float
    baseline: int
    unit: str
    name: str


class WfdbHeader(NamedTuple):
    """The header of a record."""

    rate: float  # Hz
    samples: int  # of each signal
    signals: list[WfdbSignal]


def read_wfdb_header(file: Path) -> WfdbHeader:
    """Read a header; OSError when it cannot be read, ValueError with the line that is not understood."""
    text = file.read_text(encoding="utf-8", errors="replace")
    first, *lines = [line.strip() for line in text.splitlines() if line.strip() and line[0] != "#"] or [""]
    if not (record := _RECORD_LINE.fullmatch(first)):
        raise ValueError(f'"{first[:60]}" is not a record with its signals, rate and samples')
    signals = []
    for line in lines:
        if not (parts := _SIGNAL_LINE.fullmatch(line)):
            raise ValueError(f'"{line[:60]}" does not describe a signal')
        name, form, gain, baseline, unit, zero, description = parts.groups()
        signals.append(WfdbSignal(name, form, float(gain), int(baseline or zero), unit, description))
    if len(signals) != int(record[1]):
        raise ValueError(f"it announces {record[1]} signals and describes {len(signals)}")
    return WfdbHeader(float(record[2]), int(record[3]), signals)
