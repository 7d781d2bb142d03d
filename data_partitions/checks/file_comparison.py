"""Which files are unlike the others of a data set: in scale, in polarity, or not at all."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

MIN_FILES = 5  # fewer are not compared
MIN_RATIO = 5.0  # of scales; amplitudes of bodies differ by less, gains and units by more
DEVIATIONS = 6.0  # of the logarithms of the scales, robustly estimated
# Ratios that wrong units leave: powers of ten, minutes and seconds, mg/dL and mmol/L or umol/L.
UNIT_RATIOS = {1e6: "10^6", 1e3: "1000", 100.0: "100", 10.0: "10", 60.0: "60", 18.02: "18", 88.4: "88.4"}
SIMILAR = 0.5  # correlation of two signals beyond which they are certainly alike or opposite
MIN_PAIRS = 3  # other signals to which a signal is opposite; diseases turn one or two
SKEWED = 1.0  # skewness beyond which the direction of the peaks is certain
ONE_SIDED_SHARE = 0.9  # of the files that are certain, for a direction to be a property of the signal


def unlike_scales(scales: Sequence[float], min_ratio: float = MIN_RATIO) -> dict[int, float]:
    """Return the files whose scale is unlike the others', by `min_ratio`, with its ratio to their median.

    A scale is proportional to the unit of the file, such as the width of the middle 90 %; NaN or 0 if there
    is none.
    """
    values = np.asarray(scales, dtype=float)
    valid = np.isfinite(values) & (values > 0)
    if valid.sum() < MIN_FILES:
        return {}
    logs = np.log(np.where(valid, values, 1.0))
    centre = np.median(logs[valid])
    deviation = 1.4826 * np.median(np.abs(logs[valid] - centre))
    limit = max(np.log(min_ratio), DEVIATIONS * deviation)
    unlike = np.flatnonzero(valid & (np.abs(logs - centre) > limit))
    return {int(i): float(np.exp(logs[i] - centre)) for i in unlike}


def name_ratio(ratio: float) -> str:
    """Write a ratio of scales as "1000 times larger", with the factor of a unit where one is near."""
    word = "larger" if ratio > 1 else "smaller"
    size = max(ratio, 1 / ratio)
    factor = min(UNIT_RATIOS, key=lambda factor: abs(np.log(size / factor)))
    near = abs(np.log(size / factor)) < np.log(1.5)
    return f"about {UNIT_RATIOS[factor] if near else f'{size:.0f}'} times {word}"


def opposite_channels(correlations: np.ndarray) -> list[tuple[int, int]]:
    """Return (file, signal) where a signal is opposite to all others with which it agrees in other files.

    `correlations` are those of each two signals, `(file, signal, signal)`, NaN where one is absent or flat.
    """
    strong = np.abs(np.nan_to_num(correlations)) > SIMILAR
    signs = np.where(strong, np.sign(np.nan_to_num(correlations)), 0.0)
    files = strong.sum(axis=0)
    share = (signs > 0).sum(axis=0) / np.maximum(files, 1)
    usual = np.where(share >= ONE_SIDED_SHARE, 1, np.where(share <= 1 - ONE_SIDED_SHARE, -1, 0))
    usual[files < 2 * MIN_FILES] = 0
    np.fill_diagonal(usual, 0)
    opposite = (signs * usual < 0).sum(axis=2)
    agreeing = (signs * usual > 0).sum(axis=2)
    return [
        (int(file), int(signal)) for file, signal in np.argwhere((opposite >= MIN_PAIRS) & (agreeing == 0))
    ]


def opposite_peaks(skewness: Sequence[float]) -> list[int]:
    """Return the files whose peaks, by their skewness, point against those of nearly all others.

    For signals that `opposite_channels` cannot judge, because fewer than `MIN_PAIRS` others are like them.
    """
    values = np.nan_to_num(np.asarray(skewness, dtype=float))
    certain = np.abs(values) > SKEWED
    upward = certain & (values > 0)
    if certain.sum() < 2 * MIN_FILES:
        return []
    share = upward.sum() / certain.sum()
    if max(share, 1 - share) < ONE_SIDED_SHARE:
        return []
    return [int(i) for i in np.flatnonzero(certain & (upward != (share > 0.5)))]
