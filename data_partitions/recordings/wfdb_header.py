"""The header of a WFDB record (Moody, WFDB Applications Guide, header(5)).

`wfdb.rdheader` gives the same but takes thirty times as long, which is nearly all of the time of reading a
short record. A test checks that the two agree.
"""

import re
from datetime import datetime
from pathlib import Path
from typing import NamedTuple

from data_partitions.errors import DataError
from data_partitions.sentences import shorten

DEFAULT_RATE = 250.0  # Hz
DEFAULT_GAIN = 200.0  # digital steps per unit
MIN_GAIN = 1e-30
NO_FILE = "~"  # stands for a signal without samples, and for a gap between segments

_WHOLE = r"\d{1,15}"
_NUMBER = r"(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?"
_RECORD_LINE = re.compile(
    rf"""
    (\S+?) (?:/({_WHOLE}))?                # name/segments
    \s+ ({_WHOLE})                         # signals
    (?:\s+ ({_NUMBER}) (?:/\S*)?           # rate/counter(base)
    (?:\s+ ({_WHOLE})                      # samples
    (?:\s+ (.*))?)?)?                      # time and date
    """,
    re.ASCII | re.VERBOSE,
)
SIGNAL_LINE = re.compile(
    rf"""
    (\S+)                                                  # file
    \s+ ({_WHOLE}) (?:x({_WHOLE}))? (?::({_WHOLE}))? (?:\+({_WHOLE}))?   # format, frame, skew, offset
    (?:\s+ (-?{_NUMBER}) (?:\(([+-]?{_WHOLE})\))? (?:/(\S+))?           # gain(baseline)/unit
    (?:\s+ {_WHOLE}                                        # resolution
    (?:\s+ (-?{_WHOLE})                                    # zero
    (?:\s+ (?P<initial>-?{_WHOLE})
    (?:\s+ (?P<checksum>-?{_WHOLE})
    (?:\s+ {_WHOLE}                                        # size of blocks
    (?:\s+ (.*))?)?)?)?)?)?)?                              # description
    """,
    re.ASCII | re.VERBOSE,
)
_SEGMENT_LINE = re.compile(rf"([^\s/\\]+)\s+({_WHOLE})", re.ASCII)
_STARTS = ("%H:%M:%S %d/%m/%Y", "%H:%M:%S.%f %d/%m/%Y", "%d-%b-%Y %H:%M:%S", "%d/%m/%Y %H:%M:%S")


class WfdbSignal(NamedTuple):
    """The line of one signal: physical value = (sample - baseline) / gain, in `unit`."""

    file: str
    format: str
    gain: float
    baseline: int
    unit: str
    name: str  # "" where it has no description
    frame_samples: int  # samples in a frame
    skew: int  # frames by which the samples in the file are late
    offset: int  # bytes before the samples
    initial: int  # first sample
    calibrated: bool


class WfdbHeader(NamedTuple):
    """The header of a record; a record of several segments has no signals but segments."""

    rate: float  # frames per second
    samples: int  # frames; 0 where the header states none
    signals: list[WfdbSignal]
    segments: list[tuple[str, int]]  # name and frames
    start: datetime | None
    start_text: str

    def without_gains(self) -> "WfdbHeader":
        """Return the header of samples that are whole numbers without a unit of their own."""
        signals = [signal._replace(gain=1.0, baseline=0, calibrated=True) for signal in self.signals]
        return self._replace(signals=signals)


def read_wfdb_header(file: Path) -> WfdbHeader:
    """Read a header; DataError when it cannot be read, with the line that is not understood."""
    try:
        return _parse_header(file.read_bytes())
    except OSError as error:
        raise DataError(f"{file} cannot be read ({error.strerror})") from None
    except ValueError as error:
        raise DataError(f"{file} is not a readable WFDB header: {shorten(error, 120)}") from None


def _parse_header(content: bytes) -> WfdbHeader:
    first, *lines = [decode_line(line) for line in header_lines(content)] or [""]
    if not (record := _RECORD_LINE.fullmatch(first)):
        raise ValueError(f'"{shorten(first, 60)}" is not a record with its signals, rate and samples')
    _, num_segments, num_signals, rate, samples, start = record.groups()
    frames_per_second = float(rate) if rate else DEFAULT_RATE
    if not 0 < frames_per_second < float("inf"):
        raise ValueError(f"its rate is {shorten(rate, 20)} Hz")
    expected = int(num_segments or num_signals)
    signals: list[WfdbSignal] = []
    segments: list[tuple[str, int]] = []
    if num_segments:
        segments = [_parse_segment(line) for line in lines]
    else:
        signals = [_parse_signal(line) for line in lines]
    if len(lines) != expected:
        kind = "segments" if num_segments else "signals"
        raise ValueError(
            f"its first line gives {expected} as the number of {kind}, but the others describe {len(lines)}"
        )
    text = start or ""
    return WfdbHeader(frames_per_second, int(samples or 0), signals, segments, _parse_start(text), text)


def header_lines(content: bytes) -> list[bytes]:
    """Return the lines that are neither empty nor comments, without white space at their ends."""
    lines = (line.strip() for line in content.split(b"\n"))
    return [line for line in lines if line and not line.startswith(b"#")]


def decode_line(line: bytes) -> str:
    """Decode a line, which is UTF-8 or else Latin-1."""
    try:
        return line.decode()
    except UnicodeDecodeError:
        return line.decode("latin-1")


def _parse_signal(line: str) -> WfdbSignal:
    if not (parts := SIGNAL_LINE.fullmatch(line)):
        raise ValueError(f'"{shorten(line, 60)}" does not describe a signal')
    name, form, frame, skew, offset, gain_text, baseline, unit, zero, initial, _, description = parts.groups()
    gain = float(gain_text or 0)
    if gain and not MIN_GAIN < abs(gain) < 1 / MIN_GAIN:
        raise ValueError(f'"{shorten(line, 60)}" has no usable gain')
    return WfdbSignal(
        name,
        form,
        gain or DEFAULT_GAIN,
        int(baseline or zero or 0),
        unit or "mV",
        description or "",
        int(frame or 1),
        int(skew or 0),
        int(offset or 0),
        int(initial or 0),
        gain != 0,
    )


def _parse_segment(line: str) -> tuple[str, int]:
    if not (parts := _SEGMENT_LINE.fullmatch(line)):
        raise ValueError(f'"{shorten(line, 60)}" does not describe a segment')
    return parts[1], int(parts[2])


def _parse_start(text: str) -> datetime | None:
    for form in _STARTS:
        try:
            return datetime.strptime(text.strip(), form)
        except ValueError:
            continue
    return None
