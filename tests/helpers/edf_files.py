"""EDF and BDF files with any header text."""

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np


class EdfSignal(NamedTuple):
    """A channel: its digital samples, samples in a data record, and texts of the header."""

    label: str | bytes
    digital: np.ndarray
    samples: int = 100
    unit: str | bytes = "mV"
    physical: tuple[str, str] = ("-5", "5")
    limits: tuple[str, str] = ("-32768", "32767")


def write_edf_file(
    file: Path,
    signals: Sequence[EdfSignal],
    *,
    date: str = "02.03.26",
    time: str = "12.30.05",
    records: object = None,
    record_seconds: object = 1,
    reserved: str = "",
    pad: bytes = b" ",
    onsets: Sequence[float] | None = None,
    tail: bytes = b"",
) -> Path:
    """Write a file; with `onsets`, each data record has an annotation with its start in s."""
    bdf = file.suffix.lower() == ".bdf"
    signals = list(signals)
    count = max(len(s.digital) // s.samples for s in signals if s.samples)
    if onsets is not None:
        texts = [f"+{onset:g}\x14\x14".encode().ljust(60, b"\0") for onset in onsets]
        numbers = np.frombuffer(b"".join(texts), "<i2")
        if bdf:
            joined = np.frombuffer(b"".join(texts), np.uint8).reshape(-1, 3).astype(np.int32)
            numbers = joined[:, 0] | joined[:, 1] << 8 | joined[:, 2] << 16
        label = "BDF Annotations" if bdf else "EDF Annotations"
        signals.append(EdfSignal(label, numbers, len(numbers) // count, "", ("-1", "1")))

    def field(content: object, width: int) -> bytes:
        text = content if isinstance(content, bytes) else str(content).encode("latin-1")
        return text.ljust(width, pad)[:width]

    head = b"\xffBIOSEMI" if bdf else field("0", 8)
    head += field("X X X X", 80) + field("Startdate X X X X", 80) + field(date, 8) + field(time, 8)
    head += field(256 * (len(signals) + 1), 8) + field(reserved, 44)
    head += field(count if records is None else records, 8)
    head += field(record_seconds, 8) + field(len(signals), 4)
    columns = [
        ([s.label for s in signals], 16),
        ([""] * len(signals), 80),
        ([s.unit for s in signals], 8),
        ([s.physical[0] for s in signals], 8),
        ([s.physical[1] for s in signals], 8),
        ([s.limits[0] for s in signals], 8),
        ([s.limits[1] for s in signals], 8),
        ([""] * len(signals), 80),
        ([s.samples for s in signals], 8),
        ([""] * len(signals), 32),
    ]
    for texts_of_column, width in columns:
        head += b"".join(field(text, width) for text in texts_of_column)
    parts = [s.digital[: count * s.samples].reshape(count, s.samples) for s in signals]
    numbers = np.concatenate(parts, 1).astype("<i4")
    content = numbers.reshape(-1).view(np.uint8).reshape(-1, 4)[:, : 3 if bdf else 2].tobytes()
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(head + content + tail)
    return file
