"""Check what a site reports about itself: its manifest, its label counts and its standardising sums."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from data_partitions.manifest import SPLITS, Manifest, Split

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
    labelled : dict of str to int
        Windows with labels in each split, on which phase 2 is trained and scored.
    sums : float64 array (modality, 3)
        Count, sum and sum of squares of its training samples.
    label_sums, covariate_sums : float64 arrays (label, 3) and (covariate, 3)
        The same of the labels of a regression, and of covariates that are inputs, of labelled training
        windows; without rows in other runs.
    patients : dict of str to int, or None
        Patients of each split; None where the site withholds the number, and empty in runs of versions that
        did not report it.
    """

    node_id: int
    manifest: Manifest
    labels: dict[str, list[float] | None]
    labelled: dict[Split, int]
    sums: np.ndarray
    label_sums: np.ndarray
    covariate_sums: np.ndarray
    patients: dict[Split, int | None] = field(default_factory=dict)

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
            labelled = {split: int(answer["labelled"][split]) for split in SPLITS}
            patients: dict[Split, int | None] = {
                split: None if number is None else int(number)
                for split, number in answer.get("patients", {}).items()
            }
            sums = np.array(answer["sums"], np.float64)
            of_labels, of_covariates = (
                np.array(answer[key], np.float64).reshape(-1, 3) for key in ("label-sums", "covariate-sums")
            )
        except (KeyError, TypeError, ValueError, OverflowError):
            raise ValueError("its answer cannot be read") from None
        if manifest.site != answer["name"]:
            raise ValueError(
                f"its partition is that of {manifest.site}: name each folder as the site that it holds"
            )
        label_counts = [np.array(counts) for counts in labels.values() if counts is not None]
        shapes = {counts.shape for counts in label_counts}
        rows_of_sums = len(of_labels) in (0, len(manifest.labels))
        rows_of_sums &= len(of_covariates) in (0, len(manifest.covariates))
        if (
            sums.shape != (len(manifest.modalities), 3)
            or not shapes <= {(len(manifest.labels),)}
            or not rows_of_sums
        ):
            raise ValueError("its sums or counts are not those of its modalities and labels")
        if any((counts < 0).any() or not np.isfinite(counts).all() for counts in label_counts):
            raise ValueError("its sums or counts are negative or not finite")
        num_windows = manifest.windows["train"]
        if any(not 0 <= labelled[split] <= manifest.windows[split] for split in SPLITS):
            raise ValueError("it counts more windows with labels than windows")
        if not patients.keys() <= set(SPLITS) or any(
            number is not None and not 0 <= number <= manifest.windows[split]
            for split, number in patients.items()
        ):
            raise ValueError("it counts more patients than windows")
        if any(max(labels[split] or [0]) > labelled[split] for split in SPLITS):
            raise ValueError("it counts more windows with a label than windows with labels")
        _check_sums(sums, num_windows * manifest.patches * manifest.shape[2])
        for sums_of_windows in (of_labels, of_covariates):
            _check_sums(sums_of_windows, labelled["train"])
        return cls(node, manifest, labels, labelled, sums, of_labels, of_covariates, patients)

    def to_json(self) -> dict:
        """Return what `read` reads."""
        return {
            "manifest": self.manifest.model_dump(mode="json"),
            "labels": self.labels,
            "labelled": self.labelled,
            "sums": self.sums.tolist(),
            "label-sums": self.label_sums.tolist(),
            "covariate-sums": self.covariate_sums.tolist(),
            "patients": self.patients,
        }


def _check_sums(sums: np.ndarray, most: int) -> None:
    """Raise ValueError unless these can be count, sum and sum of squares of at most `most` numbers."""
    if not np.isfinite(sums).all() or (sums[:, [0, 2]] < 0).any():
        raise ValueError("its sums or counts are negative or not finite")
    count, total, squares = sums.T
    if (count > most).any():
        raise ValueError("it counts more samples than its windows have")
    if (np.maximum(np.abs(total), np.sqrt(squares)) > MAX_ABS_VALUE * count).any():
        raise ValueError(f"it has values beyond {MAX_ABS_VALUE:g} on average")
