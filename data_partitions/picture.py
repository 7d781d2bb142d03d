"""A picture of the data of sites: some windows with their missing samples, and label counts of each site."""

import textwrap
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from data_partitions.errors import DataError
from data_partitions.figure_file import save_figure
from data_partitions.inspection import count_windows_with
from data_partitions.partition import Partition
from data_partitions.storage import atomic_write
from data_partitions.window_traces import (
    choose_time_unit,
    isolated_samples,
    label_modality,
    split_by_data,
)

MAX_ROWS = 12  # of modalities without any sample in the windows among those with samples
MAX_WINDOWS = 3  # in the picture; they are from different sites if there are several
MAX_BARS = 30  # of the largest sites; the others share one
CANDIDATE_WINDOWS = 64  # per site; the one with median missingness is drawn
SIGNAL_COLOUR = "#202124"
MISSING_COLOUR = "#f7d9cc"
ABSENT_MODALITY_COLOUR = "#d5d8dc"


def plot_sites(partitions: Sequence[Partition], out: str | Path) -> None:
    """Draw windows and label counts of sites.

    Parameters
    ----------
    partitions
        Partitions of one schema.
    out
        File to write: .png, .svg or .pdf.

    Raises
    ------
    DataError
        matplotlib is not installed, or the suffix names no format.
    """
    try:
        from matplotlib.figure import Figure
    except ImportError:
        raise DataError("pictures need matplotlib: pip install -e '.[plot]'") from None
    if len(partitions) > 1:
        drawn = [(partition, _typical_row(partition, 0)) for partition in partitions[:MAX_WINDOWS]]
    else:
        (partition,) = partitions
        count = min(MAX_WINDOWS, len(partition))
        drawn = [(partition, _typical_row(partition, offset)) for offset in range(count)]
    measured = np.any([partition.read([row])[1][0].any((1, 2)) for partition, row in drawn], axis=0)
    rows, listed = split_by_data(measured.tolist(), MAX_ROWS)
    windows_height = max(3.0, 0.32 * len(rows) + 1.2)
    bars_height = 0.9 + 0.3 * min(len(partitions), MAX_BARS)
    figure = Figure(figsize=(12, windows_height + bars_height), layout="constrained")
    above, below = figure.subfigures(2, 1, height_ratios=[windows_height, bars_height], squeeze=False)[:, 0]
    axes = above.subplots(1, len(drawn), squeeze=False)[0]
    for ax, (partition, row) in zip(axes, drawn, strict=True):
        _draw_window(ax, partition, row, rows, with_names=ax is axes[0])
    _explain(above, [partitions[0].manifest.modalities[m].name for m in listed])
    _draw_label_counts(below.subplots(), partitions)
    try:
        with atomic_write(Path(out)) as file:  # private to this user, as it shows patients' windows
            save_figure(figure, file, format=Path(out).suffix[1:] or None, dpi=110)
    except ValueError as error:  # an unknown suffix
        raise DataError(f"cannot draw to {out}: {error}") from None


def _typical_row(partition: Partition, offset: int) -> int:
    """Return the row of the candidate window whose rank by missingness is `offset` from the median."""
    rows = np.linspace(0, len(partition) - 1, min(CANDIDATE_WINDOWS, len(partition))).astype(int)
    observed_shares = [partition.read([row])[1].mean() for row in rows]
    order = np.argsort(observed_shares, kind="stable")
    return int(rows[order[(len(order) // 2 + offset) % len(order)]])


def _draw_window(ax: Any, partition: Partition, row: int, modalities: list[int], with_names: bool) -> None:
    """Draw modalities below each other, each scaled to its range, which stands beside it."""
    manifest = partition.manifest
    values, observed = (a[0] for a in partition.read([row]))
    seconds = manifest.patch_seconds * manifest.patches
    unit = choose_time_unit(seconds)
    end = seconds / unit.seconds
    for position, m in enumerate(modalities):
        base, modality = -position, manifest.modalities[m]
        if not modality.present:
            ax.axhspan(base - 0.45, base + 0.45, color=ABSENT_MODALITY_COLOUR, lw=0)
            continue
        samples = values[m, :, : modality.samples_per_patch].ravel()
        measured = observed[m, :, : modality.samples_per_patch].ravel()
        edges = np.linspace(0, end, len(samples) + 1)
        centres = (edges[1:] + edges[:-1]) / 2
        ax.fill_between(
            np.repeat(edges, 2)[1:-1],
            base - 0.45,
            base + 0.45,
            where=np.repeat(~measured, 2),
            color=MISSING_COLOUR,
            lw=0,
            step=None,
        )
        if measured.any():
            low, high = samples[measured].min(), samples[measured].max()
            heights = (samples - low) / (high - low) - 0.5 if high > low else np.zeros_like(samples)
            y = np.where(measured, base + 0.8 * heights, np.nan)
            alone = isolated_samples(y)
            ax.plot(centres, y, color=SIGNAL_COLOUR, lw=0.8)
            ax.plot(centres[alone], y[alone], ".", color=SIGNAL_COLOUR, ms=4)
            span = f"{low:.3g} to {high:.3g}" if high > low else f"{low:.3g}"
            place = {"xycoords": ("axes fraction", "data"), "textcoords": "offset points"}
            ax.annotate(span, (1, base), (3, 0), va="center", fontsize=6, **place)
    ax.set_xlim(0, end)
    ax.set_ylim(0.6 - len(modalities), 0.6)
    named = [manifest.modalities[m] for m in modalities] if with_names else []
    ax.set_yticks(-np.arange(len(named)), [label_modality(m.name, m.unit) for m in named], fontsize=8)
    ax.tick_params(left=False, labelsize=8)
    ax.set_xlabel(unit.axis_label, fontsize=8)
    title = f"{manifest.site}: {partition.record_ids[row]} ({_describe_labels(partition, row)})"
    ax.set_title(title, fontsize=9)
    ax.spines[["top", "right", "left"]].set_visible(False)


def _explain(figure: Any, listed: list[str]) -> None:
    """Add a legend above the windows, and below them the modalities that they do not have."""
    from matplotlib.lines import Line2D
    from matplotlib.patches import Patch

    keys = [
        Line2D([], [], color=SIGNAL_COLOUR, lw=0.8, marker=".", label="measured, scaled to its range"),
        Patch(color=MISSING_COLOUR, label="not measured"),
        Patch(color=ABSENT_MODALITY_COLOUR, label="the site does not have it"),
    ]
    figure.legend(handles=keys, loc="outside upper center", ncols=3, frameon=False, fontsize=8)
    if listed:
        text = textwrap.fill(f"Not measured in these windows: {', '.join(listed)}", 170)
        figure.supxlabel(text, fontsize=8, x=0.01, ha="left")


def _describe_labels(partition: Partition, row: int) -> str:
    labels, manifest = partition.labels[row], partition.manifest
    if np.isnan(labels).any() or not len(labels):
        return "no label"
    if manifest.task == "regression":
        return ", ".join(f"{number:g} {manifest.label_unit}".strip() for number in labels)
    return ", ".join(name for name, value in zip(manifest.labels, labels, strict=True) if value) or "negative"


def _draw_label_counts(ax: Any, partitions: Sequence[Partition]) -> None:
    smallest = min(sorted(map(len, partitions), reverse=True)[:MAX_BARS])  # of the sites with a bar
    groups = {p.manifest.site: [p] for p in partitions if len(p) >= smallest}
    if others := [p for p in partitions if len(p) < smallest]:
        groups[f"{len(others)} smaller sites"] = others
    left = np.zeros(len(groups))
    for label in partitions[0].manifest.labels or ("no label",):
        counts = np.array(
            [sum(count_windows_with(label, p, np.arange(len(p))) for p in sites) for sites in groups.values()]
        )
        ax.barh(list(groups), counts, left=left, label=label, height=0.7)
        left += counts
    ax.invert_yaxis()
    ax.set_xlabel("windows with the label", fontsize=8)
    ax.tick_params(labelsize=8)
    ax.spines[["top", "right"]].set_visible(False)
    ax.legend(fontsize=8, frameon=False, loc="center left", bbox_to_anchor=(1, 0.5))
