"""`condi evaluate`: a run's metrics on a partition, with intervals by bootstrap over patients."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Literal

import numpy as np
import torch
import typer

from client_app.inference.impute_partition import open_compatible_partition
from client_app.inference.options import DeviceOption, JsonOption, ModelOption, open_run
from client_app.node.imputer_phase import error_sums_by_block
from client_app.node.site import Site
from condi_core.config import ConfigError
from condi_core.metrics import (
    EVALUATED_MISSINGNESS,
    calibration,
    calibration_error,
    imputation_metrics,
    score_histograms,
    scored_keys,
)
from condi_core.model import TrainedRun
from condi_core.run_files import RunFileError, read_config, read_roster
from condi_core.weights_file import WeightsFileError
from condi_core.windows import iterate_blocks
from data_partitions import DataError
from data_partitions.console import one_sentence_errors, progress_bars
from data_partitions.manifest import SPLITS
from data_partitions.preparation_log import ProgressCallback
from data_partitions.table import Cell, Table, Value

LEVELS = (0.025, 0.975)
SHOWN_IMPUTERS = {
    "mean": "mean",
    "linear": "linear",
    "estimate": "closed form",
    "condi": "CondI",
    "condi, draws": "CondI, median",
}
SHOWN = {"auroc": "AUROC", "auprc": "AUPRC", "f1": "F1", "accuracy": "acc.", "calibration error": "calib."}


def evaluate(
    model: ModelOption,
    data: Annotated[Path, typer.Option(help="Partition of a site.")],
    split: Annotated[
        Literal["train", "val", "test", "all"],
        typer.Option(help="Which windows; all and train only of sites that took no part in the run."),
    ] = "test",
    bootstrap: Annotated[int, typer.Option(min=0, help="Resamples of patients; 0: no intervals.")] = 1000,
    as_measured: Annotated[
        bool,
        typer.Option(
            "--as-measured",
            help="Classify without simulated missingness.",
        ),
    ] = False,
    device: DeviceOption = "auto",
    as_json: JsonOption = False,
) -> None:
    """Score a run on data that it has not seen: imputation beside the naive rows, and classification.

    The holes are those of the run's own test. Intervals are 95 %, over patients.

    Example: condi evaluate --model runs/demo --data /srv/condi/north --split all
    """
    with one_sentence_errors(WeightsFileError, ConfigError), progress_bars() as progress:
        learned = open_run(model, data, device)
        site = _site(learned, model, data, split)
        rows = np.concatenate([site.partition.rows(s) for s in (SPLITS if split == "all" else (split,))])
        if not len(rows):
            raise DataError(f"{data} has no {split} windows: choose another --split")
        resamples = _resamples(site.partition.patient_ids[rows], bootstrap)
        told = {
            "site": site.name,
            "windows": len(rows),
            "patients": len(np.unique(site.partition.patient_ids[rows])),
            "imputation": _imputation(learned, site, rows, resamples, progress),
            "task": _task(learned, site, rows, resamples, as_measured, progress),
        }
    if as_json:
        typer.echo(json.dumps(told))
    else:
        _show(told)


def _site(model: TrainedRun, run: Path, data: Path, split: str) -> Site:
    """The partition under the settings of the run."""
    partition = open_compatible_partition(model, data)
    try:
        config, sites = read_config(run), read_roster(run)
    except RunFileError as error:
        raise DataError(str(error)) from None
    if partition.manifest.schema() != model.schema.model_dump(mode="json"):
        raise DataError(
            f"{data} has other labels than the run: it has {', '.join(partition.manifest.labels)}"
        )
    config = config.model_copy(
        update={"missingness": config.missingness_for_split("test"), "test_missingness": ""}
    )
    name = partition.manifest.site
    if split in ("train", "all") and name in sites:
        raise DataError(
            f"{name} took part in this run, which has seen its training windows: use --split test"
        )
    return Site(name, partition, config, model.device, Path())


def _resamples(patients: np.ndarray, count: int) -> np.ndarray:
    """How often each window is drawn, `(1 + count, window)`: as they are, then with patients resampled."""
    _, of = np.unique(patients, return_inverse=True)
    number = of.max() + 1
    drawn = np.random.default_rng(0).multinomial(number, np.full(number, 1 / number), size=count)
    return np.concatenate([np.ones((1, len(of)), int), drawn[:, of]])


def _interval(found: list[dict[str, float]]) -> dict[str, dict]:
    """Each metric, and where 95 % of its values over resamples lie (None without resamples)."""

    def of(metric: str) -> dict:
        values = np.array([f[metric] for f in found[1:]])
        values = values[~np.isnan(values)]
        return {
            "value": found[0][metric],
            "interval": np.quantile(values, LEVELS).tolist() if len(values) else None,
        }

    return {metric: of(metric) for metric in found[0]}


def _imputation(
    model: TrainedRun, site: Site, rows: np.ndarray, resamples: np.ndarray, progress: ProgressCallback
) -> dict[str, dict]:
    """`{kind of missingness: {method: {metric: {"value", "interval"}}}}`; a patch counts the same at any rate."""
    if model.imputer is None:
        return {}
    samples = site.config.imputer.samples
    sums: dict[str, list[np.ndarray]] = {key: [] for key in scored_keys(samples)}
    done, steps = 0, len(sums) * -(-len(rows) // len(next(iterate_blocks(rows))))
    for key, _, found in error_sums_by_block(site, model.imputer, rows, samples, all_measured=True):
        sums[key].append(np.einsum("wmk,m->wk", found, model.schema.patch_weights))
        done += 1
        progress("imputation", done, steps)
    out: dict[str, dict] = {kind: {} for kind in EVALUATED_MISSINGNESS}
    for key, parts in sums.items():
        kind, method = key.split("/")
        out[kind][method] = _interval([imputation_metrics(s) for s in resamples @ np.concatenate(parts)])
    return out


def _task(
    model: TrainedRun,
    site: Site,
    rows: np.ndarray,
    resamples: np.ndarray,
    as_measured: bool,
    progress: ProgressCallback,
) -> dict[str, dict]:
    """`{method: {metric: {"value", "interval"}, "reliability": {label: tenths as of `calibration`}}}`."""
    schema, labels, out = model.schema, site.partition.labels[rows], {}
    kind = schema.task_kind
    for method in model.classifiers:
        told = []
        for block in iterate_blocks(rows):
            values, observed = site.read(block, as_measured)
            told.append(model.predict(values.numpy(), observed.numpy(), method=method).probabilities)
            progress(f"classification, {method}", sum(map(len, told)), len(rows))
        probabilities, true = torch.from_numpy(np.concatenate(told)), torch.from_numpy(labels)
        sums = []
        for counts in resamples:
            drawn = np.repeat(np.arange(len(rows)), counts)
            sums.append(kind.sums(probabilities[drawn], true[drawn]))
        found = [
            kind.metrics(s, schema.ordered) | {"calibration error": _calibration_error(s["task"])}
            for s in sums
        ]
        by_label = {
            label: calibration(*h).tolist()
            for label, h in zip(schema.labels, score_histograms(sums[0]["task"]), strict=True)
        }
        out[method] = _interval(found) | {"reliability": by_label}
    return out


def _calibration_error(sums: np.ndarray) -> float:
    """Mean over labels."""
    return float(np.mean([calibration_error(*h) for h in score_histograms(sums)]))


def _show(told: dict) -> None:
    """The tables, for people."""
    title = f"{told['site']}: {told['windows']} windows of {told['patients']} patients"
    if told["imputation"]:
        rows: list[list[Value]] = []
        for method in next(iter(told["imputation"].values())):
            errors = [methods[method]["rmse"] for methods in told["imputation"].values()]
            rows.append([SHOWN_IMPUTERS.get(method, method), *map(_cell, errors)])
        title = f"{title}\nRMSE of imputation in standard deviations"
        typer.echo(Table(title, ["", *told["imputation"]], rows).to_text() + "\n")
    rows = [
        [method, *(_cell(metrics[metric]) for metric in SHOWN)] for method, metrics in told["task"].items()
    ]
    title = "Classification; calib.: expected calibration error"
    typer.echo(Table(title, ["", *SHOWN.values()], rows).to_text())


def _cell(found: dict) -> Cell:
    if found["interval"] is None:
        return Cell(f"{found['value']:.3f}", found["value"])
    low, high = found["interval"]
    return Cell(f"{found['value']:.3f}\n{low:.3f}–{high:.3f}", found["value"])
