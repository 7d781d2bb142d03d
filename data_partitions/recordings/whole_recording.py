"""The content of a native file, in any format."""

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
        Name of the channel in the file.
    unit
        Unit of the samples; "" where the file states none.
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
        The file that was read.
    signals
        Its channels, in the order of the file.
    source
        Data with which the module of the format can write the file again.
    """

    file: Path
    signals: tuple[Signal, ...]
    source: Any
