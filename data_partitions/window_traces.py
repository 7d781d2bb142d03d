"""What a picture of a window shows, and how: its samples in time, the unit of time, and which modalities.

The report, `condi plot` and `condi inspect --plot` draw by these rules.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple, Protocol

import numpy as np

SHORTEST_SECONDS = 4.0  # of a window that a picture shows, where the window has as many
MIN_SAMPLES = 400  # of the fastest modality that a picture shows, where the window has as many


class TimeUnit(NamedTuple):
    name: str
    seconds: float

    @property
    def axis_label(self) -> str:
        return f"time ({self.name})"


class DrawnModality(Protocol):
    """A modality as schemas and manifests have it."""

    @property
    def name(self) -> str: ...
    @property
    def unit(self) -> str: ...
    @property
    def samples_per_patch(self) -> int: ...


@dataclass(frozen=True)
class Trace:
    """A modality over a part of a window: lines over `time`, in its unit, and NaN where there is none."""

    name: str
    unit: str
    time: np.ndarray  # in the unit of the time axis
    conditioning: np.ndarray  # samples that the model was given
    target: np.ndarray  # measured samples that were hidden from the model
    median: np.ndarray  # of the draws, like both ends of their 90 % interval
    low: np.ndarray
    high: np.ndarray

    @property
    def label(self) -> str:
        return label_modality(self.name, self.unit)


@dataclass(frozen=True)
class DrawnWindow:
    """A completed window. Arrays are `(modality, patch, sample)`, in source units; masks are bool.

    `quantiles` (3, modality, patch, sample) are the median, the 5 % and the 95 % quantile of the draws.
    """

    modalities: Sequence[DrawnModality]
    patch_seconds: float
    values: np.ndarray
    conditioning: np.ndarray
    target: np.ndarray
    quantiles: np.ndarray

    def trace(self, m: int, patches: slice, unit: TimeUnit) -> Trace:
        """Cut out one modality over some patches."""
        modality = self.modalities[m]
        samples = modality.samples_per_patch

        def line(array: np.ndarray) -> np.ndarray:
            return array[..., m, patches, :samples].reshape(*array.shape[:-3], -1)

        values, conditioning, target = line(self.values), line(self.conditioning), line(self.target)
        median, low, high = np.where(conditioning, np.nan, line(self.quantiles))
        start = np.arange(len(values)) / samples + (patches.start or 0)
        return Trace(
            name=modality.name,
            unit=modality.unit,
            time=start * self.patch_seconds / unit.seconds,
            conditioning=np.where(conditioning, values, np.nan),
            target=np.where(target, values, np.nan),
            median=median,
            low=low,
            high=high,
        )


def label_modality(name: str, unit: str) -> str:
    """Name a modality with its unit, as axes have it."""
    return f"{name} ({unit})" if unit and unit != name else name


def choose_time_unit(seconds: float) -> TimeUnit:
    """Return the unit of an axis over so many seconds: hours for stays, seconds for waveforms."""
    units = (TimeUnit("d", 86400), TimeUnit("h", 3600), TimeUnit("min", 60))
    least = {"d": 10 * 86400, "h": 2 * 3600, "min": 600}
    return next((unit for unit in units if seconds >= least[unit.name]), TimeUnit("s", 1))


def choose_shown_seconds(window_seconds: float, patch_seconds: float, samples_per_patch: int) -> float:
    """Return how much of a window can be read in a picture, given the samples of its fastest modality."""
    return min(window_seconds, max(SHORTEST_SECONDS, MIN_SAMPLES * patch_seconds / samples_per_patch))


def choose_patches(weights: np.ndarray, length: int) -> slice:
    """Return the first `length` consecutive patches with the largest sum of `weights` (patch,)."""
    length = max(1, min(length, len(weights)))
    first = int(np.convolve(weights, np.ones(length), "valid").argmax())
    return slice(first, first + length)


def split_by_data(has_data: Sequence[bool], most_panels: int) -> tuple[list[int], list[int]]:
    """Return the positions of the modalities to draw, those with data first, and of those to list by name.

    Modalities without any sample are drawn only where all of them fit into `most_panels`.
    """
    with_data = [m for m, has in enumerate(has_data) if has]
    without = [m for m, has in enumerate(has_data) if not has]
    return (
        (with_data + without, []) if len(has_data) <= most_panels or not with_data else (with_data, without)
    )


def isolated_samples(line: np.ndarray) -> np.ndarray:
    """Return where a finite sample has no finite neighbour, so that no line shows it: it needs a marker."""
    finite = np.concatenate([[False], np.isfinite(line), [False]])
    return finite[1:-1] & ~finite[:-2] & ~finite[2:]
