"""A run's metrics on a partition, with confidence intervals by bootstrap over patients."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch

from client_app.inference.opening import open_compatible_partition, open_run
from client_app.inference.site_data import open_labelled_partition
from client_app.inference.site_description import SiteSettings
from client_app.node.imputer_phase import error_sums_by_block
from client_app.node.site import Site
from condi_core.config import MissingnessSettings
from condi_core.evaluation.catalogue import (
    CALIBRATION_ERROR,
    EVALUATED_MISSINGNESS,
    TASK_METRICS,
    imputation_metrics,
    imputer_label,
    metrics_of_task,
    missingness_label,
    scored_keys,
)
from condi_core.evaluation.classification import calibration, score_histograms
from condi_core.model import TrainedRun
from condi_core.run_files import read_config, read_roster
from condi_core.windows import iterate_blocks
from data_partitions import DataError
from data_partitions.manifest import SPLITS
from data_partitions.missingness import Missingness
from data_partitions.preparation_log import ProgressCallback
from data_partitions.table import Cell, Table, Value

INTERVAL_LEVELS = (0.025, 0.975)

# By metric: {"value": float, "interval": [low, high] or None}
Metrics = dict[str, dict[str, Any]]


def evaluate_run(
    run: Path,
    data: Path,
    settings: SiteSettings,
    split: Literal["train", "val", "test", "all"],
    num_resamples: int,
    as_measured: bool,
    device: str,
    progress: ProgressCallback,
) -> dict[str, Any]:
    """Evaluate a run on a partition.

    Parameters
    ----------
    run : Path
        Folder of the run.
    data : Path
        Partition of a site, or a folder with its files and labels.
    settings : SiteSettings
        How these files are written.
    split : str
        "train" and "all" only for sites that took no part in the run.
    num_resamples : int
        Bootstrap resamples of patients; 0 for no intervals.
    as_measured : bool
        Classify windows without simulated missingness.
    device : str
        Name of a device, as `find_device` takes it.
    progress : callable

    Returns
    -------
    dict
        `site`, `windows`, `patients`; `skipped`, why files could not be used;
        `imputation` as `{missingness pattern: {method: metrics}}`, empty without an imputer;
        `task` as `{method: metrics}`, with the `reliability` of each label.

    Raises
    ------
    RunFileError
        When the settings or the roster of the run cannot be read.
    DataError
        When the partition does not fit the run, the run was trained on these windows, or there are none.
    """
    model = open_run(run, data, device)
    with open_labelled_partition(model.schema, data, settings, progress) as partition:
        site = _open_site(model, run, partition.path, split)
        splits = SPLITS if split == "all" else (split,)
        rows = np.concatenate([site.partition.rows(s) for s in splits])
        if not len(rows):
            raise DataError(f"{data} has no {split} windows: choose another --split")
        patients = site.partition.patient_ids[rows]
        counts = _bootstrap_counts(patients, num_resamples)
        return {
            "site": site.name,
            "windows": len(rows),
            "patients": len(np.unique(patients)),
            "skipped": partition.skipped,
            "imputation": _evaluate_imputation(model, site, rows, counts, progress),
            "task": _evaluate_task(model, site, rows, counts, as_measured, progress),
        }


def _open_site(model: TrainedRun, run: Path, data: Path, split: str) -> Site:
    """Open the partition under the settings of the run, whose test missingness all splits get."""
    partition = open_compatible_partition(model, data)
    config, sites = read_config(run), read_roster(run)
    fields, expected = partition.manifest.schema_fields(), model.schema.model_dump(mode="json")
    if different := [name for name in expected if fields[name] != expected[name]]:
        raise DataError(
            f"{data} has another {', '.join(different)} than the run: it has the labels "
            f"{', '.join(partition.manifest.labels)}"
        )
    missingness = Missingness.for_split("test", dict(config.missingness), config.test_overrides)
    config = config.model_copy(
        update={"missingness": MissingnessSettings(**missingness), "test_missingness": ""}
    )
    name = partition.manifest.site
    if split in ("train", "all") and name in sites:
        raise DataError(
            f"{name} took part in this run, which was trained on its training windows: use --split test"
        )
    return Site(name, partition, config, model.device, Path())


def _bootstrap_counts(patients: np.ndarray, num_resamples: int) -> np.ndarray:
    """Return how often each window counts, `(1 + resample, window)`: row 0 counts each once."""
    _, patient_of_window = np.unique(patients, return_inverse=True)
    number = patient_of_window.max() + 1
    counts = np.random.default_rng(0).multinomial(number, np.full(number, 1 / number), size=num_resamples)
    return np.concatenate([np.ones((1, len(patients)), int), counts[:, patient_of_window]])


def _with_intervals(metrics: list[dict[str, float]]) -> Metrics:
    """Give the metrics in `metrics[0]` 95 % intervals over the resamples that follow; None without any."""

    def interval(name: str) -> list[float] | None:
        values = np.array([resampled[name] for resampled in metrics[1:]])
        values = values[~np.isnan(values)]
        return np.quantile(values, INTERVAL_LEVELS).tolist() if len(values) else None

    return {name: {"value": value, "interval": interval(name)} for name, value in metrics[0].items()}


def _evaluate_imputation(
    model: TrainedRun, site: Site, rows: np.ndarray, counts: np.ndarray, progress: ProgressCallback
) -> dict[str, dict[str, Metrics]]:
    """Evaluate the imputer and naive baselines; a patch has the same weight at any sampling rate."""
    if model.imputer is None:
        return {}
    samples = site.config.imputer.samples
    sums: dict[str, list[np.ndarray]] = {key: [] for key in scored_keys(samples)}
    num_blocks = len(sums) * sum(1 for _ in iterate_blocks(rows))
    blocks = error_sums_by_block(site, model.imputer, rows, samples, all_measured=True)
    for done, (key, block_sums) in enumerate(blocks, 1):
        sums[key].append(np.einsum("wmk,m->wk", block_sums, model.schema.patch_weights))
        progress("imputation", done, num_blocks)
    results: dict[str, dict[str, Metrics]] = {kind: {} for kind in EVALUATED_MISSINGNESS}
    for key, parts in sums.items():
        kind, method = key.split("/")
        resampled = counts @ np.concatenate(parts)
        results[kind][method] = _with_intervals([imputation_metrics(s) for s in resampled])
    return results


def _evaluate_task(
    model: TrainedRun,
    site: Site,
    rows: np.ndarray,
    counts: np.ndarray,
    as_measured: bool,
    progress: ProgressCallback,
) -> dict[str, dict[str, Any]]:
    """Evaluate the task model of each method; `calibration` describes the reliability."""
    schema, kind = model.schema, model.schema.task_kind
    catalogue = metrics_of_task(kind.name)
    if kind.name in CALIBRATION_ERROR.compute:
        catalogue.append(CALIBRATION_ERROR)
    labelled = ~np.isnan(site.partition.labels[rows]).any(1)
    rows, counts = rows[labelled], counts[:, labelled]
    if not len(rows):
        return {}
    labels = torch.from_numpy(site.partition.labels[rows])
    results = {}
    for method in model.classifiers:
        blocks: list[np.ndarray] = []
        for block in iterate_blocks(rows):
            windows = site.read(block, as_measured)
            prediction = model.predict(windows.values.numpy(), windows.observed.numpy(), method=method)
            blocks.append(prediction.values)
            progress(f"classification, {method}", sum(map(len, blocks)), len(rows))
        probabilities = torch.from_numpy(np.concatenate(blocks))
        sums = []
        for resample in counts:
            windows_of_resample = np.repeat(np.arange(len(rows)), resample)
            sums.append(kind.sums(probabilities[windows_of_resample], labels[windows_of_resample]))
        metrics = [{metric.name: metric.compute[kind.name](s) for metric in catalogue} for s in sums]
        results[method] = _with_intervals(metrics)
        if "task" in sums[0]:  # score histograms, which only classification has
            histograms = zip(schema.labels, score_histograms(sums[0]["task"]), strict=True)
            reliability = {label: calibration(*pair).tolist() for label, pair in histograms}
            results[method]["reliability"] = reliability
    return results


def evaluation_tables(evaluation: dict[str, Any]) -> list[Table]:
    """Lay out what `evaluate_run` returns."""
    tables, imputation = [], evaluation["imputation"]
    header = f"{evaluation['site']}: {evaluation['windows']} windows of {evaluation['patients']} patients"
    if imputation:
        rows: list[list[Value]] = []
        for method in next(iter(imputation.values())):
            errors = [methods[method]["rmse"] for methods in imputation.values()]
            rows.append([imputer_label(method), *map(_cell, errors)])
        title = f"{header}\nRMSE of imputation in standard deviations"
        tables.append(Table(title, ["", *map(missingness_label, imputation)], rows))
    results = evaluation["task"]
    if not results:
        return tables
    catalogue = [
        metric
        for metric in (*TASK_METRICS.values(), CALIBRATION_ERROR)
        if all(metric.name in metrics for metrics in results.values())
    ]
    rows = [[method, *(_cell(values[m.name]) for m in catalogue)] for method, values in results.items()]
    title = "Classification; calib.: expected calibration error"
    return [*tables, Table(title, ["", *(metric.column for metric in catalogue)], rows)]


def _cell(metric: dict[str, Any]) -> Cell:
    if metric["interval"] is None:
        return Cell(f"{metric['value']:.3f}", metric["value"])
    low, high = metric["interval"]
    return Cell(f"{metric['value']:.3f}\n{low:.3f}–{high:.3f}", metric["value"])
