"""The section of windows: worst and typical completions of test windows."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from condi_core.completed_window import CompletedWindow
from condi_core.config import ConfigError, RunConfig
from condi_core.evaluation.catalogue import IMPUTATION_METRICS, missingness_label
from condi_core.methods import METHODS
from condi_core.run_files import weights_path
from condi_core.weights_file import WeightsFileError, load_imputer
from condi_core.windows import Schema
from data_partitions.window_traces import DrawnWindow, choose_patches, choose_time_unit
from server_app.artifacts.run_record import RunRecord
from server_app.report.completed_windows import Progress, complete_windows, sites_with_data
from server_app.report.markup import Section, figure_row, heading, paragraph, section
from server_app.report.traces import trace_legend, traces

TITLE = "Completed windows"
RMSE = IMPUTATION_METRICS["rmse"]
MAX_MODALITIES = 3  # of a window in a figure
MAX_SAMPLES = 400  # of the fastest modality in a figure, approximately


def windows(
    run: RunRecord,
    data: list[Path],
    limit: float | None = None,
    progress: Progress = lambda completed, total: None,
) -> Section:
    """Draw the worst and typical windows of each missingness pattern.

    Parameters
    ----------
    run : RunRecord
    data : list of Path
        Partitions of sites of the run. Without any, those of a simulation are used if its federation is still
        on this machine.
    limit : float, optional
        Seconds that the work may take. With 0 and no `data`, no patients' records are read.
    progress : callable (completed, total)

    Returns
    -------
    Section
        The windows, or a sentence that says why there are none.

    Raises
    ------
    ReportError
        A partition of `data` did not take part in the run.
    """
    file = weights_path(run.path, "imputer")
    try:
        methods = RunConfig.from_flat(run.config).methods
    except ConfigError as error:
        return _without_windows(f"The settings of the run are not those of this version: {error}.")
    if not run.sites or not file.is_file() or not _train_diffusion_imputer(methods):
        return _without_windows("The run has no diffusion imputer that was trained by all its sites.")
    if limit == 0 and not data:
        return _without_windows(
            f"They show patients' records, and are drawn on request only: condi report {run.path}"
        )
    sites = sites_with_data(run, data)
    if not any(len(site.rows("test")) for site in sites):
        return _without_windows(
            "The records stay at their sites, and none are on this machine. "
            f"Where a site's data are, draw them with: condi report {run.path} --data SITE"
        )
    try:
        imputer, schema = load_imputer(file)
    except WeightsFileError as error:
        return _without_windows(f"The imputer cannot be read: {error}.")
    completed = complete_windows(run, imputer, schema, sites, limit, progress)
    if completed is None:
        return _without_windows(
            f"This would take more than {limit:g} s here. Draw them with: condi report {run.path}"
        )
    parts = [paragraph(_introduction(run)), trace_legend()]
    for pattern, scored in completed.items():
        if not scored:
            continue
        ranked = sorted(scored, key=lambda window: -window.rmse)
        ranks = dict.fromkeys([0, 1, len(ranked) // 2, len(ranked) // 2 + 1])
        figures = [_figure(ranked[rank], rank, len(ranked), schema) for rank in ranks if rank < len(ranked)]
        parts += [heading(missingness_label(pattern)), figure_row(*figures)]
    return section(TITLE, *parts)


def _without_windows(reason: str) -> Section:
    return section(TITLE, paragraph(f"No windows are drawn. {reason}"))


def _introduction(run: RunRecord) -> str:
    text = (
        "The figures show test windows with the missingness of the evaluation. Among the windows that were "
        "completed for this report, these have the largest errors of the median and a typical one. Each "
        f"figure shows up to {MAX_MODALITIES} modalities, those with the largest error, and the part of the "
        "window in which this error is largest. Dots are samples without a neighbour. RMSE is in standard "
        "deviations of the modality."
    )
    if not run.is_synthetic:
        text += " The windows are patients' records: protect this page as you protect the data."
    return text


def _train_diffusion_imputer(names: Sequence[str]) -> bool:
    """Return whether all sites together trained a diffusion model; `estimate`, for example, needs none."""
    methods = [METHODS[name] for name in names if name in METHODS]
    return any(m.imputer_training == "diffusion" and m.scope == "federated" for m in methods)


def _figure(window: CompletedWindow, rank: int, count: int, schema: Schema) -> str:
    rates = np.array([m.samples_per_patch for m in schema.modalities])
    hidden = window.target.sum((1, 2))
    by_modality = window.squared_error.sum((1, 2)) / np.maximum(hidden, 1)
    largest = [m for m in np.argsort(-by_modality, kind="stable") if hidden[m]]
    chosen = sorted(largest[:MAX_MODALITIES])
    by_patch = (window.squared_error[chosen] / rates[chosen][:, None, None]).sum((0, 2))
    shown = choose_patches(by_patch, MAX_SAMPLES // int(rates[chosen].max()))
    unit = choose_time_unit((shown.stop - shown.start) * schema.patch_seconds)
    drawn = DrawnWindow(
        schema.modalities,
        schema.patch_seconds,
        window.values,
        window.conditioning,
        window.target,
        window.quantiles,
    )
    panels = [drawn.trace(m, shown, unit) for m in chosen]
    rank_name = ("worst", "second worst")[rank] if rank < min(2, count // 2) else "typical"
    error = f"{RMSE.label} {RMSE.format(window.rmse)}"
    title = f"{window.site}, {window.record}: {error} ({rank_name} of {count})"
    start, end = (edge * schema.patch_seconds / unit.seconds for edge in (shown.start, shown.stop))
    return traces(title, panels, start, end, unit)
