"""A picture of one window with simulated missingness, and of its completion."""

from __future__ import annotations

import math
import textwrap
from pathlib import Path
from typing import Any

import numpy as np
import torch

from condi_core.evaluation.imputation import quantiles
from condi_core.missingness import Missingness, missingness_mask
from condi_core.run_files import weights_path
from condi_core.weights_file import WeightsFileError, load_imputer
from data_partitions import DataError
from data_partitions.figure_file import save_figure
from data_partitions.partition import Partition
from data_partitions.storage import atomic_write
from data_partitions.window_traces import (
    DrawnWindow,
    Trace,
    choose_patches,
    choose_shown_seconds,
    choose_time_unit,
    isolated_samples,
    split_by_data,
)

NUM_DRAWS = 50
GAP_PATCHES = 8
LEVELS = torch.tensor((0.5, 0.05, 0.95))  # the median and a 90 % interval
PANELS_PER_COLUMN = 12
MAX_COLUMNS = 3
BAND, MEDIAN, HIDDEN, OBSERVED = "#e07b39", "#c4501b", "#8b929c", "#202124"


def plot_window(
    model: Path,
    data: Path,
    out: Path,
    record: str,
    seconds: float | None,
    gaps: float,
    modalities: float,
    seed: int,
) -> str:
    """Complete a window with simulated missingness, and write the picture; return what it shows.

    `record` "" is the first test record; `seconds` None is as much of the window as can be read; `gaps` and
    `modalities` are the fraction of time to hide in gaps, and of modalities to hide.
    """
    try:
        from matplotlib.figure import Figure
    except ImportError:
        raise WeightsFileError("plots need matplotlib: pip install -e '.[plot]'") from None
    imputer, schema = load_imputer(weights_path(model, "imputer") if model.is_dir() else model)
    partition = Partition.open(data, check=False)
    if partition.manifest.schema_fields() != schema.model_dump(mode="json"):
        raise DataError(
            f"{data} has other modalities or patches than the imputer: use data of its federation"
        )
    rows = np.flatnonzero(partition.record_ids == record) if record else partition.rows("test")
    if not len(rows):
        raise DataError(f'{data} has no record "{record}"' if record else f"{data} has no test record")
    row = rows[:1]
    values, observed = partition.read(row)
    hidden = observed[0] & missingness_mask(
        values[0],
        observed[0],
        Missingness(gaps=gaps, gap_patches=GAP_PATCHES, modality_by_window=modalities),
        seed=seed,
        record_id=str(partition.record_ids[row[0]]),
        samples_per_patch=[m.samples_per_patch for m in partition.manifest.modalities],
    )
    conditioning = observed[0] & ~hidden
    generator = torch.Generator().manual_seed(seed)
    imputation = imputer.impute(
        torch.from_numpy(values), torch.from_numpy(conditioning[None]), NUM_DRAWS, generator
    )
    estimates = quantiles(imputation.draws[:, 0], LEVELS).numpy()
    window = DrawnWindow(schema.modalities, schema.patch_seconds, values[0], conditioning, hidden, estimates)
    length = schema.patches * schema.patch_seconds
    shown = min(seconds or choose_shown_seconds(length, schema.patch_seconds, schema.samples), length)
    name = f"{partition.record_ids[row[0]]} of {partition.manifest.site}"
    share = hidden.sum() / max(observed[0].sum(), 1)
    figure = Figure(layout="constrained")
    _draw(figure, window, shown, f"{name}: {share:.0%} of the measured samples hidden".replace("%", " %"))
    with atomic_write(out) as file:  # private to this user, as it shows a patient's window
        save_figure(figure, file, format=out.suffix[1:] or None, dpi=130)
    return name


def _draw(figure: Any, window: DrawnWindow, seconds: float, title: str) -> None:
    """Draw modalities in columns over the seconds in which most is hidden, with a legend above them."""
    rates = np.array([m.samples_per_patch for m in window.modalities])
    hidden = (window.target / rates[:, None, None]).sum((0, 2))
    patches = choose_patches(hidden, math.ceil(seconds / window.patch_seconds))
    measured = (window.conditioning | window.target)[:, patches].any((1, 2))
    drawn, listed = split_by_data(measured.tolist(), PANELS_PER_COLUMN)
    columns = min(math.ceil(len(drawn) / PANELS_PER_COLUMN), MAX_COLUMNS)
    panels = math.ceil(len(drawn) / columns)
    figure.set_size_inches((10, 11, 13)[columns - 1], 1.0 * panels + 1.3)
    axes = figure.subplots(panels, columns, sharex=True, squeeze=False)
    unit = choose_time_unit(seconds)
    for position, ax in enumerate(axes.T.ravel()):  # column by column
        if position < len(drawn):
            _draw_panel(ax, window.trace(drawn[position], patches, unit))
            start = patches.start * window.patch_seconds
            ax.set_xlim(start / unit.seconds, (start + seconds) / unit.seconds)
        else:
            ax.remove()
    for position in range(columns):
        last = axes[min(panels, len(drawn) - position * panels) - 1, position]
        last.set_xlabel(unit.axis_label, fontsize=9)
        last.tick_params(labelbottom=True)
    handles, labels = axes[0, 0].get_legend_handles_labels()
    legend = {"loc": "outside upper center", "ncols": 4, "frameon": False, "fontsize": 9}
    figure.legend(handles, labels, title=title, title_fontsize=11, **legend)
    if listed:
        names = ", ".join(window.modalities[m].name for m in listed)
        text = "\n".join(textwrap.wrap(f"Not measured in this time: {names}", 45 * columns + 60))
        figure.supxlabel(text, fontsize=8, x=0.01, ha="left")


def _draw_panel(ax: Any, trace: Trace) -> None:
    lines = (
        (trace.target, HIDDEN, 1.4, "measured, hidden from the model"),
        (trace.conditioning, OBSERVED, 1.2, "given to the model"),
        (trace.median, MEDIAN, 1.1, f"median of {NUM_DRAWS} draws"),
    )
    time = trace.time
    ax.fill_between(time, trace.low, trace.high, color=BAND, alpha=0.3, lw=0, label="90 % interval")
    alone = isolated_samples(trace.low)
    ax.vlines(time[alone], trace.low[alone], trace.high[alone], color=BAND, alpha=0.3, lw=4)
    for line, colour, width, label in lines:
        ax.plot(time, line, color=colour, lw=width, label=label)
        alone = isolated_samples(line)
        ax.plot(time[alone], line[alone], ".", color=colour, ms=5)
    ax.set_title(trace.label, loc="left", fontsize=9, pad=2)
    ax.spines[["top", "right"]].set_visible(False)
    ax.locator_params(axis="y", nbins=3)
    ax.tick_params(labelsize=7)
