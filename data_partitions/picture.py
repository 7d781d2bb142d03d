"""A picture of the data of sites: some windows with their missing samples, and label counts of each site."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from data_partitions.errors import DataError
from data_partitions.inspection import count_windows_with
from data_partitions.partition import Partition
from data_partitions.storage import atomic_write

MAX_WINDOWS = 3  # in the picture; they are from different sites if there are several
CANDIDATE_WINDOWS = 64  # per site; the one with median missingness is drawn
SIGNAL_COLOUR = "#202124"
MISSING_COLOUR = "#f2c4b0"
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
    modalities = partitions[0].manifest.modalities
    if len(partitions) > 1:
        drawn = list(partitions[:MAX_WINDOWS])
    else:
        drawn = [partitions[0]] * min(MAX_WINDOWS, len(partitions[0]))
    windows_height = max(3.0, 0.32 * len(modalities))
    bars_height = 0.9 + 0.3 * len(partitions)
    figure = Figure(figsize=(12, windows_height + bars_height), layout="constrained")
    above, below = figure.subfigures(2, 1, height_ratios=[windows_height, bars_height], squeeze=False)[:, 0]
    axes = above.subplots(1, len(drawn), squeeze=False)[0]
    for number, (ax, partition) in enumerate(zip(axes, drawn, strict=True)):
        row = _typical_row(partition, number if len(partitions) == 1 else 0)
        _draw_window(ax, partition, row, with_names=number == 0)
    _draw_label_counts(below.subplots(), partitions)
    try:
        with atomic_write(Path(out)) as file:  # private to this user, as it shows patients' windows
            figure.savefig(file, format=Path(out).suffix[1:] or None, dpi=110)
    except ValueError as error:  # an unknown suffix
        raise DataError(f"cannot draw to {out}: {error}") from None


def _typical_row(partition: Partition, offset: int) -> int:
    """Return the row of the candidate window whose rank by missingness is `offset` from the median."""
    rows = np.linspace(0, len(partition) - 1, min(CANDIDATE_WINDOWS, len(partition))).astype(int)
    observed_shares = [partition.read([row])[1].mean() for row in rows]
    order = np.argsort(observed_shares, kind="stable")
    return int(rows[order[(len(order) // 2 + offset) % len(order)]])


def _draw_window(ax: Any, partition: Partition, row: int, with_names: bool) -> None:
    manifest = partition.manifest
    values, observed = (a[0] for a in partition.read([row]))
    seconds = manifest.patch_seconds * manifest.patches
    scale, unit = (3600, "h") if seconds > 7200 else (1, "s")
    for position, m in enumerate(manifest.modalities):
        base = -position
        if not m.present:
            ax.axhspan(base - 0.45, base + 0.45, color=ABSENT_MODALITY_COLOUR, lw=0)
            continue
        samples = values[position, :, : m.samples_per_patch].ravel()
        measured = observed[position, :, : m.samples_per_patch].ravel()
        edges = np.linspace(0, seconds / scale, len(samples) + 1)
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
            marker = "." if len(samples) <= 200 else ""
            ax.plot(centres, y, color=SIGNAL_COLOUR, lw=0.8, marker=marker, ms=3)
    ax.set_xlim(0, seconds / scale)
    ax.set_ylim(0.6 - len(manifest.modalities), 0.6)
    names = [f"{m.name} ({m.unit})" for m in manifest.modalities] if with_names else []
    ax.set_yticks(-np.arange(len(names)), names, fontsize=8)
    ax.tick_params(left=False, labelsize=8)
    ax.set_xlabel(unit, fontsize=8)
    title = f"{manifest.site}: {partition.record_ids[row]} ({_describe_labels(partition, row)})"
    ax.set_title(title, fontsize=9)
    ax.spines[["top", "right", "left"]].set_visible(False)


def _describe_labels(partition: Partition, row: int) -> str:
    labels, manifest = partition.labels[row], partition.manifest
    if np.isnan(labels).any() or not len(labels):
        return "no label"
    if manifest.task == "regression":
        return ", ".join(f"{number:g} {manifest.label_unit}".strip() for number in labels)
    return ", ".join(name for name, value in zip(manifest.labels, labels, strict=True) if value) or "negative"


def _draw_label_counts(ax: Any, partitions: Sequence[Partition]) -> None:
    names = [p.manifest.site for p in partitions]
    left = np.zeros(len(partitions))
    for label in partitions[0].manifest.labels or ("no label",):
        counts = np.array([count_windows_with(label, p, np.arange(len(p))) for p in partitions])
        ax.barh(names, counts, left=left, label=label, height=0.7)
        left += counts
    ax.invert_yaxis()
    ax.set_xlabel("windows with the label", fontsize=8)
    ax.tick_params(labelsize=8)
    ax.spines[["top", "right"]].set_visible(False)
    ax.legend(fontsize=8, frameon=False, loc="center left", bbox_to_anchor=(1, 0.5))
