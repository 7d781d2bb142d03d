"""What is doubtful about the values of one channel, each as a number."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

# Values that devices and exports write where nothing was measured.
CODES_FOR_MISSING = (0, -1, -9, -99, -999, -9999, 99, 999, 9999, 99999, 255, 65535, 32767, -32767, -32768)
MIN_SAMPLES = 20  # a shorter channel is not judged
CLIPPED_RUN_SAMPLES = 4  # equal samples in a row at the highest or lowest value
CLIPPED_RUNS = 3  # a single one may be chance
STEEP_STEPS = 3  # of the channel's resolution, within one sample
CONSTANT_SECONDS = 2.0  # no body is constant for so long at the resolution of a waveform


class Run(NamedTuple):
    """Equal samples in a row: `first` to `last` (exclusive), all `value`."""

    first: int
    last: int
    value: float


def share_outside(values: np.ndarray, low: float, high: float) -> float:
    """Return the share of the observed values that is outside [low, high]; 0 if there are none."""
    observed = values[~np.isnan(values)]
    return float(np.mean((observed < low) | (observed > high))) if observed.size else 0.0


def is_flat(values: np.ndarray) -> bool:
    """Return whether all observed values, at least `MIN_SAMPLES`, are the same."""
    observed = values[~np.isnan(values)]
    return observed.size >= MIN_SAMPLES and bool(observed.min() == observed.max())


def codes_for_missing(values: np.ndarray, min_count: int = 2) -> dict[float, int]:
    """Return the codes that seem to stand for missing, with the number of samples of each.

    Such a code occurs at least `min_count` times and lies beyond all other values, by more than half of the
    width of their middle 98 %, or a fifth of it for a negative code among positive values.
    """
    rest = values[~np.isnan(values)]
    codes: dict[float, int] = {}
    for code in sorted(CODES_FOR_MISSING, key=abs, reverse=True):
        is_code = rest == code
        count, others = int(is_code.sum()), rest[~is_code]
        if count < min_count or others.size < MIN_SAMPLES or count > others.size:
            continue
        low, high = np.percentile(others, (1, 99))
        gap = np.abs(others - code).min()
        beyond = code < others.min() or code > others.max()
        share = 0.2 if code < 0 < others.min() else 0.5
        if beyond and gap > share * (high - low) > 0:
            codes[code] = count
            rest = others
    return codes


def clipped_share(values: np.ndarray) -> float:
    """Return the share of the samples at which the channel is cut off at its highest or lowest value.

    A cut is a run of equal samples at the extreme that the channel enters or leaves steeply. A natural bound,
    such as 100 % of an oxygen saturation, is reached in steps of the resolution and does not count.
    """
    observed = values[~np.isnan(values)]
    levels = np.unique(observed)
    if observed.size < MIN_SAMPLES or levels.size < 10:
        return 0.0
    steep = STEEP_STEPS * float(np.median(np.diff(levels)))
    clipped = 0
    for extreme in (levels[0], levels[-1]):
        runs = [run for run in runs_of(values, CLIPPED_RUN_SAMPLES) if run.value == extreme]
        runs = [run for run in runs if _steepest_edge(values, run) > steep]
        if len(runs) >= CLIPPED_RUNS:
            clipped += sum(run.last - run.first for run in runs)
    return clipped / observed.size


def constant_share(values: np.ndarray, rate: float) -> tuple[float, float]:
    """Return the share of the observed samples in long stretches of one value, and the commonest of them."""
    observed = int(np.sum(~np.isnan(values)))
    runs = runs_of(values, max(MIN_SAMPLES, round(CONSTANT_SECONDS * rate)))
    if not runs:
        return 0.0, np.nan
    samples: dict[float, int] = {}
    for run in runs:
        samples[run.value] = samples.get(run.value, 0) + run.last - run.first
    return sum(samples.values()) / observed, max(samples, key=lambda value: samples[value])


def runs_of(values: np.ndarray, min_samples: int) -> list[Run]:
    """Return the stretches of at least `min_samples` equal samples; NaN ends a stretch."""
    if values.size == 0:
        return []
    changes = np.flatnonzero(values[1:] != values[:-1]) + 1
    bounds = np.concatenate(([0], changes, [values.size]))
    long = np.flatnonzero(np.diff(bounds) >= min_samples)
    return [
        Run(int(bounds[i]), int(bounds[i + 1]), float(values[bounds[i]]))
        for i in long
        if not np.isnan(values[bounds[i]])
    ]


def _steepest_edge(values: np.ndarray, run: Run) -> float:
    edges = values[[max(run.first - 1, 0), min(run.last, values.size - 1)]]
    steps = np.abs(edges - run.value)
    return float(np.nanmax(steps)) if not np.isnan(steps).all() else 0.0
