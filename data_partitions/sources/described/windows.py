"""Where the windows of a recording start."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from data_partitions.description.sections import WindowSection
from data_partitions.sources.described.annotations import Annotation

TOLERANCE = 1e-6  # of a sample or a window: rounding of times


class Cut(NamedTuple):
    """Starts of windows and the time after the last, in s, and the annotation that each window is of."""

    starts: np.ndarray
    seconds_cut_off: float
    annotations: Sequence[Annotation] = ()


def cut_recording(section: WindowSection, record: str, seconds: float, origin: float = 0.0) -> Cut:
    """Return the windows from `origin` (s) to the end of a recording.

    Windows are complete. "first" and "last" have a window also in a recording that is shorter, whose end is
    then missing.
    """
    stride = section.stride or section.length
    available = seconds - origin
    count = math.floor((available - section.length) / stride + TOLERANCE) + 1
    if count < 1:
        short = section.take in ("first", "last") and available > 0
        return Cut(np.array([origin] if short else []), 0.0 if short else max(0.0, available))
    starts = origin + stride * np.arange(count)
    cut_off = max(0.0, seconds - starts[-1] - section.length)
    if section.take == "first":
        return Cut(starts[:1], 0.0)
    if section.take == "last":
        return Cut(np.array([seconds - section.length]), 0.0)
    if section.take.startswith("random:"):
        digest = hashlib.sha256(record.encode()).digest()
        drawn = np.random.default_rng(int.from_bytes(digest[:8], "big")).permutation(count)
        return Cut(starts[np.sort(drawn[: int(section.take.split(":")[1])])], 0.0)
    return Cut(starts, cut_off)


def cut_annotations(section: WindowSection, annotations: Sequence[Annotation], seconds: float) -> Cut:
    """Return the complete windows in each annotation; one from the onset of one without duration."""
    stride = section.stride or section.length
    starts, texts, cut_off = [], [], 0.0
    for annotation in annotations:
        end = min(annotation.onset + (annotation.duration or section.length), seconds)
        count = math.floor((end - annotation.onset - section.length) / stride + TOLERANCE) + 1
        count = max(0, count)
        starts += [annotation.onset + stride * i for i in range(count)]
        texts += [annotation] * count
        if annotation.duration:
            last = annotation.onset + stride * (count - 1) + section.length if count else annotation.onset
            cut_off += max(0.0, end - last)
    inside = [i for i, start in enumerate(starts) if start >= 0]
    return Cut(np.array([starts[i] for i in inside]), cut_off, [texts[i] for i in inside])


def number_windows(section: WindowSection, cut: Cut) -> np.ndarray:
    """Return the number of each window: its position in time where states are cut, else in their order."""
    if section.align == "annotations" and all(annotation.duration for annotation in cut.annotations):
        # States do not overlap, so no two windows begin closer than this.
        return np.floor(cut.starts / min(section.length, section.stride or section.length) + TOLERANCE)
    return np.arange(len(cut.starts))


def near_others(starts: np.ndarray, around: np.ndarray, minutes: float) -> np.ndarray:
    """Return which windows to keep, `(window,)`: of `around` none more than `minutes` from the others.

    Those long before the first or after the last other window are left out; all, if there are no others.
    """
    others = starts[~around]
    if not len(others):
        return np.zeros(len(starts), bool)
    return (starts >= others.min() - 60 * minutes) & (starts <= others.max() + 60 * minutes)
