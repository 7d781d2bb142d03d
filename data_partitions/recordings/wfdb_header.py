"""The header of a WFDB record (Moody, WFDB Applications Guide, header(5)), as PTB-XL writes it.

`wfdb.rdheader` gives the same in thirty times the time, nearly all of what reading a short record takes;
that the two agree is tested.
"""

import re
from pathlib import Path
from typing import NamedTuple

# record  number-of-signals  sampling-frequency  number-of-samples
_RECORD = re.compile(r"\S+\s+(\d+)\s+(\d+(?:\.\d+)?)\s+(\d+)\b.*")
# file  format  gain(baseline)/units  resolution  zero  initial-value  checksum  block-size  description
_SIGNAL = re.compile(
    r"(\S+)\s+(\d+)\s+([\d.eE+-]+)(?:\((-?\d+)\))?/(\S+)\s+\d+\s+(-?\d+)(?:\s+-?\d+){3}\s+(.+)"
)


class Signal(NamedTuple):
    """One line of a header: physical value = (sample - baseline) / gain, in `unit`."""

    file: str
    format: str
    gain: float
    baseline: int
    unit: str
    name: str


def read_header(file: Path) -> tuple[float, int, list[Signal]]:
    """Rate (Hz), samples per signal, and the signals. Raises OSError, and ValueError with the odd line."""
    text = file.read_text(encoding="utf-8", errors="replace")
    record, *lines = [line.strip() for line in text.splitlines() if line.strip() and line[0] != "#"] or [""]
    if not (of_record := _RECORD.fullmatch(record)):
        raise ValueError(f'"{record[:60]}" is not a record with its signals, rate and samples')
    signals = []
    for line in lines:
        if not (parts := _SIGNAL.fullmatch(line)):
            raise ValueError(f'"{line[:60]}" does not describe a signal')
        name, form, gain, baseline, unit, zero, description = parts.groups()
        signals.append(Signal(name, form, float(gain), int(baseline or zero), unit, description))
    if len(signals) != int(of_record[1]):
        raise ValueError(f"it announces {of_record[1]} signals and describes {len(signals)}")
    return float(of_record[2]), int(of_record[3]), signals
