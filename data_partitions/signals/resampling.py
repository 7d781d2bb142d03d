"""Resampling by a polyphase filter that suppresses what the lower rate cannot represent, with gaps.

The filter is a Kaiser windowed sinc (Oppenheim & Schafer, Discrete-Time Signal Processing, 3rd ed., 7.5.3).
Its passband ends at 0.8 of the lower Nyquist frequency and its stopband begins at that frequency.

A sample that is missing has no weight, and the weights of the others are scaled so that they sum to 1. A new
sample is missing where less than half of the weight is on observed samples. Therefore a gap begins and ends
where it did, to half a sample of the lower rate, and gaps that are shorter than that disappear. Samples less
than 25 samples (of the lower rate) from a gap or from the ends of the channel are less exact than others.
"""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction
from functools import lru_cache

import numpy as np

PASSBAND_OF_NYQUIST = 0.8
STOPBAND_DB = 80.0
# Ratios of rates are rounded to fractions, to one part in 10^5; the clocks of recorders are less exact.
MAX_DENOMINATOR = 50_000
SAME_RATE_TOLERANCE = 1e-5
READ_AT_ONCE = 2**20  # samples of the channel, so that memory is bounded for any number of new samples

# (first, last) -> float64 samples in [first, last), NaN where missing and beyond the ends of the channel.
ReadSamples = Callable[[int, int], np.ndarray]


def has_same_rate(rate: float, target_rate: float) -> bool:
    """Whether two rates (Hz) differ by less than the clocks of recorders."""
    return abs(rate - target_rate) <= SAME_RATE_TOLERANCE * target_rate


def resample(read: ReadSamples, rate: float, target_rate: float, first: int, last: int) -> np.ndarray:
    """Return samples `first` to `last` of a channel at another rate (Hz): float64, NaN where missing.

    Sample i of a channel is at the time i / rate, so that there is no shift in time. The result does not
    depend on the blocks in which it is read.
    """
    if last <= first:
        return np.empty(0)
    ratio = find_ratio(rate, target_rate)
    block = max(1, int(READ_AT_ONCE * ratio))
    blocks = [
        _resample_block(read, ratio, start, min(start + block, last)) for start in range(first, last, block)
    ]
    return np.concatenate(blocks)


def _resample_block(read: ReadSamples, ratio: Fraction, first: int, last: int) -> np.ndarray:
    from scipy.signal import upfirdn

    up, down = ratio.numerator, ratio.denominator
    taps = _design_filter(up, down)
    half = len(taps) // 2
    reach = -(-half // up)  # samples of the channel on each side of a new one
    source_first = first * down // up - reach
    samples = read(source_first, (last - 1) * down // up + 1 + reach)
    observed = ~np.isnan(samples)
    # Position, at `up` times the channel's rate, that the filter has reached when its centre is on the first
    # new sample. Zeros before the taps move it to a multiple of `down`, at which results are computed.
    position = first * down - source_first * up + half
    taps = np.concatenate([np.zeros(-position % down), taps])
    skipped = -(-position // down)
    chosen = slice(skipped, skipped + last - first)
    total = upfirdn(taps, np.where(observed, samples, 0.0), up, down)[chosen]
    weight = upfirdn(taps, observed.astype(np.float64), up, down)[chosen]
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(weight >= 0.5, total / weight, np.nan)


@lru_cache(maxsize=64)
def find_ratio(rate: float, target_rate: float) -> Fraction:
    """Return the number of new samples for each of the channel, as a fraction."""
    ratio = Fraction(target_rate) / Fraction(rate)
    if ratio < 1:
        return 1 / (1 / ratio).limit_denominator(MAX_DENOMINATOR)
    return ratio.limit_denominator(MAX_DENOMINATOR)


@lru_cache(maxsize=4)  # up to 20 MB each
def _design_filter(up: int, down: int) -> np.ndarray:
    """Return the taps at `up` times the channel's rate: odd in number, symmetric, with the gain `up`."""
    from scipy.signal import firwin, kaiserord

    lower = 1 / max(up, down)  # Nyquist frequency of the lower rate, where that of the taps is 1
    count, beta = kaiserord(STOPBAND_DB, (1 - PASSBAND_OF_NYQUIST) * lower)
    cutoff = (1 + PASSBAND_OF_NYQUIST) / 2 * lower
    taps: np.ndarray = up * firwin(count | 1, cutoff, window=("kaiser", beta))
    return taps
