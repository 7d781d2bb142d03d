"""The task metrics of a run on a site's windows, for all of them and by the subgroups of covariates."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch

from client_app.inference.bootstrap import Metrics, with_intervals
from client_app.node.site import Site
from condi_core.evaluation.catalogue import CALIBRATION_ERROR, TaskMetric, metrics_of_task
from condi_core.evaluation.classification import score_histograms
from condi_core.evaluation.reliability import reliability
from condi_core.evaluation.subgroups import subgroups
from condi_core.model import TrainedRun
from condi_core.windows import iterate_blocks
from data_partitions.preparation_log import ProgressCallback

# {covariate: {subgroup: {"windows": int, "patients": int, "metrics": Metrics}}}; metrics are None if withheld
SubgroupResults = dict[str, dict[str, dict[str, Any]]]


class TaskEvaluation:
    """Predictions of a site's labelled windows, and their metrics.

    `counts` (1 + resample, window) says how often each window counts: all once in the first row, and then in
    each bootstrap resample.
    """

    def __init__(self, model: TrainedRun, site: Site, rows: np.ndarray, counts: np.ndarray) -> None:
        self.model = model
        self.site = site
        self.rows = rows
        self.counts = counts
        self.kind = model.schema.task_kind
        self.labels = torch.from_numpy(site.partition.labels[rows])
        self.covariates = site.partition.covariates[rows]

    def metrics(
        self, method: str, as_measured: bool, progress: ProgressCallback
    ) -> tuple[dict[str, Any], SubgroupResults]:
        """Return metrics with intervals, with the `reliability` of each class, and those of subgroups."""
        predictions = self._predict(method, as_measured, progress)
        catalogue = metrics_of_task(self.kind.name)
        results: dict[str, Any] = self._metrics_of(predictions, slice(None), catalogue + self._calibration())
        sums = self.kind.sums(predictions, self.labels)
        if "task" in sums:  # score histograms, which only classification has
            histograms = zip(self.model.schema.labels, score_histograms(sums["task"]), strict=True)
            results["reliability"] = {
                label: [[part.mean_score, part.observed_rate, part.windows] for part in reliability(*pair)]
                for label, pair in histograms
            }
        by_group: SubgroupResults = {}
        for group in subgroups(self.model.schema):
            members = np.flatnonzero(group.contains(self.covariates))
            patients = len(np.unique(self.site.partition.patient_ids[self.rows[members]]))
            withheld = 0 < patients < self.site.config.privacy.smallest_count
            by_group.setdefault(group.covariate_name, {})[group.name] = {
                "windows": len(members),
                "patients": patients,
                "metrics": None if withheld else self._metrics_of(predictions, members, catalogue),
            }
        return results, by_group

    def _predict(self, method: str, as_measured: bool, progress: ProgressCallback) -> torch.Tensor:
        blocks: list[np.ndarray] = []
        for block in iterate_blocks(self.rows):
            windows = self.site.read(block, as_measured)
            prediction = self.model.predict(
                windows.values.numpy(),
                windows.observed.numpy(),
                method=method,
                covariates=self.site.partition.covariates[block],
            )
            blocks.append(prediction.values)
            progress(f"predictions, {method}", sum(map(len, blocks)), len(self.rows))
        return torch.from_numpy(np.concatenate(blocks))

    def _calibration(self) -> list[TaskMetric]:
        return [CALIBRATION_ERROR] if self.kind.name in CALIBRATION_ERROR.compute else []

    def _metrics_of(
        self, predictions: torch.Tensor, members: slice | np.ndarray, catalogue: Sequence[TaskMetric]
    ) -> Metrics:
        """Compute metrics of some of the windows, and of their part of each resample."""
        predictions, labels = predictions[members], self.labels[members]
        resampled = []
        for counts in self.counts[:, members]:
            windows = np.repeat(np.arange(len(labels)), counts)
            sums = self.kind.sums(predictions[windows], labels[windows])
            resampled.append({metric.name: metric.compute[self.kind.name](sums) for metric in catalogue})
        return with_intervals(resampled)
