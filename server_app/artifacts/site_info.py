"""What a site says of itself: its manifest, its label counts and its standardising sums, checked."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from data_partitions.manifest import SPLITS, Manifest

MAX_WINDOWS = 10**9  # that are believed of a site
MAX_ABS_VALUE = 1e9  # in source units, that is believed of a mean


@dataclass(frozen=True)
class SiteInfo:
    """What a site has said of itself."""

    node_id: int
    manifest: Manifest
    labels: dict[str, list[float] | None]  # windows per label, per split; None: withheld
    sums: np.ndarray  # (modality, 3): count, sum and sum of squares of the training samples

    @classmethod
    def read(cls, node: int, answer: dict) -> SiteInfo:
        """From a site's answer; ValueError when it is not one, or tells what cannot be."""
        try:
            manifest = Manifest.model_validate({**answer["manifest"], "made_by": ""})
            labels = {split: answer["labels"][split] for split in SPLITS}
            labels = {split: told and [float(n) for n in told] for split, told in labels.items()}
            sums = np.array(answer["sums"], np.float64)
        except (KeyError, TypeError, ValueError, OverflowError):
            raise ValueError("its answer cannot be read") from None
        if manifest.site != answer["name"]:
            raise ValueError(f"its partition is that of {manifest.site}")
        counts = [np.array(found) for found in labels.values() if found is not None]
        shapes = {found.shape for found in counts}
        if sums.shape != (len(manifest.modalities), 3) or not shapes <= {(len(manifest.labels),)}:
            raise ValueError("its sums or counts are not those of its modalities and labels")
        if (
            not np.isfinite(sums).all()
            or (sums[:, [0, 2]] < 0).any()
            or not all((n >= 0).all() for n in counts)
        ):
            raise ValueError("its sums or counts are not finite, or negative")
        count, total, squares = sums.T
        most = manifest.windows["train"] * manifest.patches * manifest.shape[2]
        if manifest.windows["train"] > MAX_WINDOWS or (count > most).any():
            raise ValueError("it counts more samples than its windows have, or more windows than can be")
        if (np.maximum(np.abs(total), np.sqrt(squares)) > MAX_ABS_VALUE * count).any():
            raise ValueError(f"it has values beyond {MAX_ABS_VALUE:g}")
        return cls(node, manifest, labels, sums)
