"""The labels of windows by the annotations in them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from data_partitions.sources.described.annotations import Annotation
from data_partitions.sources.described.labels import LabelRule

MIN_SHARE_OF_WINDOW = 0.5  # that states of one class must cover to be the class of the window


def label_windows(
    rule: LabelRule, annotations: Sequence[Annotation], starts: np.ndarray, seconds: float
) -> np.ndarray:
    """Return the labels of windows by annotations, by onset: float32 `(window, label)`, NaN without any.

    - binary: 1 where an event begins in the window or lasts into it, else 0.
    - multi-label: 1 for each class that does.
    - single-label, ordinal: the class of the states that cover most of the window, at least half of it; if no
      annotation lasts, the class that occurs most often.

    DataError when an annotation has a text that no class has.
    """
    kind = rule.task.kind
    labels = np.tile(rule.no_label(), (len(starts), 1))
    if kind == "none":
        return labels
    if kind == "binary":
        positions = np.array([0 if rule.is_event(a.text) else -1 for a in annotations], int)
    else:
        positions = _positions_of_classes(rule, annotations)
    used = positions >= 0
    onsets = np.array([a.onset for a in annotations])[used]
    durations = np.array([a.duration for a in annotations])[used]
    positions = positions[used]
    latest_ends = np.maximum.accumulate(onsets + durations) if len(onsets) else onsets
    for labels_of_window, start in zip(labels, starts, strict=True):
        end = start + seconds
        # Annotations before `first` have all ended, those from `last` have not begun.
        first = min(np.searchsorted(latest_ends, start, "right"), np.searchsorted(onsets, start))
        last = np.searchsorted(onsets, end)
        inside = slice(first, last)
        overlaps = np.minimum(onsets[inside] + durations[inside], end) - np.maximum(onsets[inside], start)
        touches = (overlaps > 0) | ((durations[inside] == 0) & (onsets[inside] >= start))
        of_window = positions[inside][touches]
        if kind in ("binary", "multi-label"):
            labels_of_window[:] = 0
            labels_of_window[of_window] = 1
            continue
        weights = overlaps[touches] if (durations > 0).any() else np.full(len(of_window), seconds)
        covered = np.bincount(of_window, weights, len(rule.names))
        if covered.max(initial=0) >= MIN_SHARE_OF_WINDOW * seconds:
            labels_of_window[:] = np.arange(len(rule.names)) == covered.argmax()
    return labels


def label_recording(rule: LabelRule, annotations: Sequence[Annotation], seconds: float) -> np.ndarray:
    """Return the labels of a whole recording by its annotations: float32 `(label,)`."""
    return label_windows(rule, annotations, np.zeros(1), seconds)[0]


def _positions_of_classes(rule: LabelRule, annotations: Sequence[Annotation]) -> np.ndarray:
    """Return the class of each annotation, -1 for those that are dropped."""
    positions = [rule.class_of(annotation.text) for annotation in annotations]
    unknown = {
        annotation.text: None
        for annotation, position in zip(annotations, positions, strict=True)
        if position is None and not rule.is_dropped(annotation.text)
    }
    if unknown:
        raise rule.unknown_text_error(list(unknown))
    return np.array([-1 if position is None else position for position in positions], int)
