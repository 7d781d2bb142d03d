"""What a native file holds, whatever its format."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np


@dataclass(frozen=True)
class Signal:
    """One channel of a recording.

    Parameters
    ----------
    name
        As the file has it.
    unit
        Of the samples; "" where the file names none.
    rate
        Samples per second (Hz).
    samples
        float64 `(time,)`, NaN where not observed.
    """

    name: str
    unit: str
    rate: float
    samples: np.ndarray


@dataclass(frozen=True)
class Recording:
    """The channels of a file.

    Parameters
    ----------
    file
        Where it was read.
    signals
        Its channels, in the order of the file.
    source
        What the module of its format needs to write it again.
    """

    file: Path
    signals: tuple[Signal, ...]
    source: Any
