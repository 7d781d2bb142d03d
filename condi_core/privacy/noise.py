"""Random numbers for privacy, from the source of the operating system.

They do not depend on a generator or seed of the run, with which another party could reproduce and remove
them. They cannot be drawn twice: a run that is resumed from a checkpoint ends with other weights than one
that was never stopped.
"""

from __future__ import annotations

import math
import os

import numpy as np


def secure_gaussian_noise(shape: tuple[int, ...]) -> np.ndarray:
    """Draw standard normal numbers (Box and Muller 1958).

    Like all floating-point noise, they are normal only up to rounding (Mironov 2012).
    """
    size = math.prod(shape)
    radius, angle = np.sqrt(-2 * np.log(1 - _uniform(size))), _uniform(size) * (2 * math.pi)
    return (radius * np.cos(angle)).reshape(shape)


def sample_patients(num_patients: int, rate: float) -> np.ndarray:
    """Draw a Poisson sample: each patient independently with probability `rate`; return their positions."""
    return np.flatnonzero(_uniform(num_patients) < rate)


def choose_windows(num_windows: np.ndarray) -> np.ndarray:
    """Draw for each entry one of so many windows; return its number, from 0."""
    return np.minimum((_uniform(len(num_windows)) * num_windows).astype(int), num_windows - 1)


def _uniform(size: int) -> np.ndarray:
    """Draw uniform numbers in [0, 1) of 53 bits."""
    return (np.frombuffer(os.urandom(8 * size), np.uint64) >> np.uint64(11)) * 2.0**-53
