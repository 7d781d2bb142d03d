"""The statistics of a signal in one recording, from which its smells are judged."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from data_partitions.checks.channel_smells import (
    MIN_SAMPLES,
    clipped_share,
    codes_for_missing,
    constant_share,
    is_flat,
    share_outside,
)


class SignalStatistics(NamedTuple):
    """Statistics of the samples of a signal that were read, in the unit of the description."""

    samples: int  # number of samples, and of those that are not missing
    observed: int
    outside: float  # share of the observed samples that is outside the range of the description
    flat: bool  # whether all observed samples are the same
    clipped: float  # share of the observed samples at which the signal is cut off
    constant: float  # share of the samples in long stretches of one value, and the commonest value of these
    constant_value: float
    codes: dict[float, int]  # values that seem to stand for missing, with their counts
    low: float  # lowest and highest value, and the median
    median: float
    high: float
    width: float  # width of the middle 90 % of the values
    skewness: float  # skewness; NaN without variation


def measure_signal(
    values: np.ndarray, rate: float | None, limits: tuple[float, float] | None
) -> SignalStatistics:
    """Measure a signal, `(sample,)`, NaN where nothing was measured.

    `rate` (Hz) is None for measurements at any times, which may repeat a value for long.
    """
    observed = values[~np.isnan(values)]
    if not observed.size:
        nan = float("nan")
        return SignalStatistics(values.size, 0, 0.0, False, 0.0, 0.0, nan, {}, nan, nan, nan, nan, nan)
    low, five, median, ninety_five, high = np.percentile(observed, (0, 5, 50, 95, 100))
    constant, constant_value = constant_share(values, rate) if rate else (0.0, float("nan"))
    deviation = observed.std()
    skewness = float(np.mean(((observed - observed.mean()) / deviation) ** 3)) if deviation > 0 else np.nan
    return SignalStatistics(
        values.size,
        observed.size,
        share_outside(values, *limits) if limits else 0.0,
        is_flat(values),
        clipped_share(values) if rate else 0.0,
        constant,
        constant_value,
        codes_for_missing(values) if observed.size >= MIN_SAMPLES else {},
        float(low),
        float(median),
        float(high),
        float(ninety_five - five),
        skewness,
    )
