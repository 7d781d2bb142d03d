"""What a native file holds, whatever its format."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np


@dataclass(frozen=True)
class Signal:
    """One channel: `samples` float64 (time,) in `unit`, NaN where not observed; `rate` in Hz."""

    name: str
    unit: str  # "" where the file does not say
    rate: float
    samples: np.ndarray


@dataclass(frozen=True)
class Recording:
    """The channels of a file, and what its format needs to write it again (`source`)."""

    file: Path
    signals: tuple[Signal, ...]
    source: Any
