"""Check what a site reports about itself: its manifest, its label counts and its standardising sums."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from data_partitions.manifest import SPLITS, Manifest

MAX_WINDOWS = 10**9  # largest number of windows that a site may report
MAX_ABS_VALUE = 1e9  # largest mean, in source units, that a site may report


@dataclass(frozen=True)
class SiteInfo:
    """What a site has reported about itself.

    Parameters
    ----------
    node_id : int
        Flower's id of the node that stands for the site.
    manifest : Manifest
        Manifest of its partition.
    labels : dict of str to list of float, or None
        Windows per label of each split; None where the site withholds them.
    sums : float64 array (modality, 3)
        Count, sum and sum of squares of its training samples.
    """

    node_id: int
    manifest: Manifest
    labels: dict[str, list[float] | None]
    sums: np.ndarray

    @classmethod
    def read(cls, node: int, answer: dict) -> SiteInfo:
        """Read a site's answer; ValueError when it is malformed or has impossible numbers."""
        try:
            manifest = Manifest.model_validate({**answer["manifest"], "made_by": ""})
            reported = {split: answer["labels"][split] for split in SPLITS}
            labels: dict[str, list[float] | None] = {
                split: None if counts is None else [float(n) for n in counts]
                for split, counts in reported.items()
            }
            sums = np.array(answer["sums"], np.float64)
        except (KeyError, TypeError, ValueError, OverflowError):
            raise ValueError("its answer cannot be read") from None
        if manifest.site != answer["name"]:
            raise ValueError(f"its partition is that of {manifest.site}")
        label_counts = [np.array(counts) for counts in labels.values() if counts is not None]
        shapes = {counts.shape for counts in label_counts}
        if sums.shape != (len(manifest.modalities), 3) or not shapes <= {(len(manifest.labels),)}:
            raise ValueError("its sums or counts are not those of its modalities and labels")
        has_negative = (sums[:, [0, 2]] < 0).any() or any((counts < 0).any() for counts in label_counts)
        has_nan = any(np.isnan(counts).any() for counts in label_counts)
        if not np.isfinite(sums).all() or has_negative or has_nan:
            raise ValueError("its sums or counts are negative or not finite")
        count, total, squares = sums.T
        max_samples = manifest.windows["train"] * manifest.patches * manifest.shape[2]
        if manifest.windows["train"] > MAX_WINDOWS or (count > max_samples).any():
            raise ValueError(
                f"it counts more samples than its windows have, or more than {MAX_WINDOWS:g} windows"
            )
        if (np.maximum(np.abs(total), np.sqrt(squares)) > MAX_ABS_VALUE * count).any():
            raise ValueError(f"it has values beyond {MAX_ABS_VALUE:g} on average")
        return cls(node, manifest, labels, sums)
