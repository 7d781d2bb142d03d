"""The cell of a table for the scores of one method over seeds."""

from __future__ import annotations

import math

from condi_core.evaluation.catalogue import Metric
from data_partitions.table import Cell
from server_app.report.markup import metric_cell
from server_app.study.ranking import SeedScores
from server_app.study.statistics import mean_sd, patient_interval


def score_cell(scores: SeedScores, metric: Metric) -> Cell:
    """Return mean ± standard deviation over seeds, with the interval over patients where there is one."""
    mean, sd = mean_sd([score.value for score in scores.values()])
    cell = metric_cell(metric, mean)
    if cell.value is None:
        return cell
    text = cell.text + ("" if math.isnan(sd) else f" ± {metric.format(sd)}")
    low, high = patient_interval(list(scores.values()))
    interval = "" if math.isnan(low) else f" ({metric.format(low)} to {metric.format(high)})"
    return Cell(text + interval, mean)
