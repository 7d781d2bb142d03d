"""WFDB records with any header text, written without the wfdb package."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

MISSING = -(2**15)


def write_record(
    folder: Path,
    name: str,
    digital: np.ndarray,
    *,
    names: Sequence[str] = ("I", "II", "V1"),
    rate: float = 100,
    first: str = "",
    forms: Sequence[str] = (),
    gain: str = "1000(0)/mV",
    tail: Sequence[str] = (),
    file: str = "",
    head: bytes = b"",
    encoding: str = "utf-8",
) -> Path:
    """Write samples `(time, signal)` in format 16, and a header with the given texts; return the header."""
    file = file or f"{name}.dat"
    lines = [first or f"{name} {digital.shape[1]} {rate:g} {len(digital)}"]
    for k, signal in enumerate(names):
        checksum = int(digital[:, k].sum()) % 65536
        form = forms[k] if forms else "16"
        lines.append(f"{file} {form} {gain} 16 0 {digital[0, k]} {checksum} 0 {signal}".rstrip())
    folder.mkdir(parents=True, exist_ok=True)
    header = folder / f"{name}.hea"
    header.write_bytes(("\n".join([*lines, *tail]) + "\n").encode(encoding))
    (folder / file).write_bytes(head + digital.astype("<i2").tobytes())
    return header


def draw_samples(seconds: int = 5, rate: int = 100, signals: int = 3, seed: int = 3) -> np.ndarray:
    """Draw digital samples `(time, signal)`, of which the second signal misses the second second."""
    samples = np.random.default_rng(seed).integers(-900, 900, (seconds * rate, signals))
    if signals > 1:
        samples[rate : 2 * rate, 1] = MISSING
    return samples
