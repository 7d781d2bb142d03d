"""Mean and deviation of each modality from bounded contributions of patients, in two releases.

The first release is a histogram over the plausible range of each modality, which locates its values (Karwa
and Vadhan 2018, arXiv:1711.03908). The second has the mean and the root mean square of what is clipped to the
located interval. Both need a range that does not depend on the data.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

NUM_HISTOGRAM_BINS = 32  # of the plausible range
HISTOGRAM_NORM = 0.7  # to which the histograms of a patient are clipped, times √modalities
MOMENTS_NORM = 0.35  # to which the moments of a patient are clipped, times √modalities
MIN_HALF_MASS = 6.0  # mass that locates values, in standard deviations of the noise of a bin
MIN_WIDTH = 2  # of the shortest interval with half of the values, in bins
HALF_WIDTH = 6.0  # of the located interval, in widths of the shortest interval with half of the values
SMALLEST_DEVIATION = 0.02  # in half widths of the located interval
SMALLEST_SHARE_OF_SQUARE = 0.25  # of the mean square that is variance, and not due to the mean
DEVIATION_OF_RANGE = 1 / 3  # of values that noise hides, in half widths of their range


class Interval(NamedTuple):
    """Centre and half width of an interval per modality, both Tensor (modality,)."""

    centre: Tensor
    half_width: Tensor


class Location(NamedTuple):
    """Where the values of each modality are, as a histogram with noise says.

    Attributes
    ----------
    interval : around most of them; the range where noise hides them
    is_located : bool Tensor (modality,)
    presence : Tensor (modality,), share of patients with the modality
    """

    interval: Interval
    is_located: Tensor
    presence: Tensor


def histogram_contributions(values: Tensor, observed: Tensor, ranges: Interval) -> Tensor:
    """Compute the share of a window's samples in each bin of the range.

    Parameters
    ----------
    values, observed : Tensor (window, modality, patch, sample), in source units
    ranges : plausible ranges; what is beyond counts to the first or last bin

    Returns
    -------
    Tensor (window, modality · bin), float64; zeros where nothing was observed
    """
    position = (_relative(values, ranges) + 1) / 2 * NUM_HISTOGRAM_BINS
    bins = position.clamp(0, NUM_HISTOGRAM_BINS - 1).long().flatten(2)
    weights = observed.double().flatten(2)
    counts = torch.zeros(*bins.shape[:2], NUM_HISTOGRAM_BINS, dtype=torch.float64).scatter_add_(
        2, bins, weights
    )
    return (counts / counts.sum(2, keepdim=True).clamp(min=1)).flatten(1)


def moment_contributions(values: Tensor, observed: Tensor, located: Interval) -> Tensor:
    """Compute mean and root mean square of a window's samples, relative to the located interval.

    Returns
    -------
    Tensor (window, modality · 2), float64; zeros where nothing was observed
    """
    mask = observed.double().flatten(2)
    relative = _relative(values, located).flatten(2) * mask
    count = mask.sum(2).clamp(min=1)
    return torch.stack([relative.sum(2) / count, (relative.square().sum(2) / count).sqrt()], 2).flatten(1)


def locate_values(histograms: Tensor, bin_noise: float, ranges: Interval) -> Location:
    """Locate the values of each modality around the shortest interval with half of them.

    Parameters
    ----------
    histograms : Tensor (modality · bin,), the noisy mean over patients
    bin_noise : standard deviation of the noise of each bin
    ranges : plausible ranges
    """
    cumulative = torch.nn.functional.pad(histograms.view(-1, NUM_HISTOGRAM_BINS).cumsum(1), (1, 0))
    masses = cumulative[:, None, :] - cumulative[:, :, None]  # (modality, first bin, bin after the last)
    width = torch.arange(NUM_HISTOGRAM_BINS + 1)[None, :] - torch.arange(NUM_HISTOGRAM_BINS + 1)[:, None]
    # Of the intervals with half of the values, the shortest, and of those the one with most values.
    is_half = (masses >= cumulative[:, -1].clamp(min=0)[:, None, None] / 2) & (width >= MIN_WIDTH)
    score = torch.where(is_half, masses - 1e3 * width, -torch.inf).flatten(1)
    best = score.argmax(1)
    first, last = best // (NUM_HISTOGRAM_BINS + 1), best % (NUM_HISTOGRAM_BINS + 1)
    bin_width = 2 * ranges.half_width / NUM_HISTOGRAM_BINS
    centre = ranges.centre - ranges.half_width + (first + last) / 2 * bin_width
    half_width = torch.minimum(HALF_WIDTH * (last - first) * bin_width, 2 * ranges.half_width)
    mass = cumulative[:, -1]
    is_located = score.amax(1).isfinite() & (mass / 2 > MIN_HALF_MASS * bin_noise)
    interval = Interval(
        torch.where(is_located, centre, ranges.centre), torch.where(is_located, half_width, ranges.half_width)
    )
    return Location(interval, is_located, (mass + 2 * bin_noise * NUM_HISTOGRAM_BINS**0.5).clamp(1e-6, 1))


def sums_from_moments(moments: Tensor, location: Location, counts: Tensor) -> Tensor:
    """Return standardising sums (modality, 3) with the mean and deviation that noisy moments have.

    Where noise hides the values, they are those of the range, and the moments are not used.

    Parameters
    ----------
    moments : Tensor (modality · 2,), the noisy mean over patients
    location : the interval to which they are relative
    counts : Tensor (modality,), the numbers of samples that the sums are to have; 0: none
    """
    (centre, half_width), is_located, presence = location
    mean, root_mean_square = (moments.view(-1, 2) / presence[:, None]).unbind(1)
    square = root_mean_square.clamp(min=0).square()
    variance = torch.maximum(square - mean.square(), SMALLEST_SHARE_OF_SQUARE * square)
    deviation = variance.sqrt().clamp(SMALLEST_DEVIATION, 1)
    mean = centre + half_width * torch.where(is_located, mean.clamp(-1, 1), 0)
    deviation = half_width * torch.where(is_located, deviation, DEVIATION_OF_RANGE)
    return torch.stack([counts, counts * mean, counts * (mean**2 + deviation**2)], 1)


def _relative(values: Tensor, interval: Interval) -> Tensor:
    """Return values relative to an interval, which is from -1 to 1, clipped to it."""
    centre, half_width = (part[:, None, None] for part in interval)
    return ((values.double() - centre) / half_width).nan_to_num(0, 1, -1).clamp(-1, 1)
