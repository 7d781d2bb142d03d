"""A picture of what sites hold: some windows with their holes, and how often each site has each label."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from data_partitions.errors import DataError
from data_partitions.partition import Partition

SHOWN = 3  # windows, each of another site where there are several
LOOKED_AT = 64  # windows of a site among which the one of median missingness is shown
INK, HOLE, LACKING = "#202124", "#f2c4b0", "#d5d8dc"


def plot_sites(partitions: Sequence[Partition], out: str | Path) -> None:
    """Draw to `out` (.png, .svg, .pdf). Raises DataError when matplotlib is not installed."""
    try:
        from matplotlib.figure import Figure
    except ImportError:
        raise DataError("pictures need matplotlib: pip install -e '.[plot]'") from None
    modalities = partitions[0].manifest.modalities
    shown = [*partitions[:SHOWN]] if len(partitions) > 1 else [partitions[0]] * min(SHOWN, len(partitions[0]))
    rows_height = max(3.0, 0.32 * len(modalities))
    bars_height = 0.9 + 0.3 * len(partitions)
    figure = Figure(figsize=(12, rows_height + bars_height), layout="constrained")
    above, below = figure.subfigures(2, 1, height_ratios=[rows_height, bars_height])
    axes = above.subplots(1, len(shown), squeeze=False)[0]
    for number, (ax, partition) in enumerate(zip(axes, shown, strict=True)):
        row = _typical(partition, number if len(partitions) == 1 else 0)
        _draw_window(ax, partition, row, names=number == 0)
    _draw_labels(below.subplots(), partitions)
    try:
        figure.savefig(out, dpi=110)
    except ValueError as error:  # an ending that names no format
        raise DataError(f"cannot draw to {out}: {error}") from None


def _typical(partition: Partition, place: int) -> int:
    """Row of a window in the middle of those looked at, by how much of it was observed."""
    rows = np.linspace(0, len(partition) - 1, min(LOOKED_AT, len(partition))).astype(int)
    observed = [partition.read([row])[1].mean() for row in rows]
    order = np.argsort(observed, kind="stable")
    return int(rows[order[(len(order) // 2 + place) % len(order)]])


def _draw_window(ax, partition: Partition, row: int, names: bool) -> None:
    manifest = partition.manifest
    values, observed = (a[0] for a in partition.read([row]))
    seconds = manifest.patch_seconds * manifest.patches
    scale, unit = (3600, "h") if seconds > 7200 else (1, "s")
    for place, m in enumerate(manifest.modalities):
        base = -place
        if not m.present:
            ax.axhspan(base - 0.45, base + 0.45, color=LACKING, lw=0)
            continue
        x = values[place, :, : m.samples_per_patch].ravel()
        seen = observed[place, :, : m.samples_per_patch].ravel()
        edges = np.linspace(0, seconds / scale, len(x) + 1)
        middle = (edges[1:] + edges[:-1]) / 2
        shade = np.repeat(~seen, 2)
        ax.fill_between(
            np.repeat(edges, 2)[1:-1], base - 0.45, base + 0.45, where=shade, color=HOLE, lw=0, step=None
        )
        if seen.any():
            low, high = x[seen].min(), x[seen].max()
            y = base + 0.8 * ((x - low) / (high - low) - 0.5 if high > low else np.zeros_like(x))
            dots = "." if len(x) <= 200 else ""
            ax.plot(middle, np.where(seen, y, np.nan), color=INK, lw=0.8, marker=dots, ms=3)
    ax.set_xlim(0, seconds / scale)
    ax.set_ylim(0.6 - len(manifest.modalities), 0.6)
    labels = [f"{m.name} ({m.unit})" for m in manifest.modalities] if names else []
    ax.set_yticks(-np.arange(len(labels)), labels, fontsize=8)
    ax.tick_params(left=False, labelsize=8)
    ax.set_xlabel(unit, fontsize=8)
    given = [name for name, has in zip(manifest.labels, partition.labels[row], strict=True) if has]
    ax.set_title(f"{manifest.site}: {partition.record_ids[row]} ({', '.join(given)})", fontsize=9)
    ax.spines[["top", "right", "left"]].set_visible(False)


def _draw_labels(ax, partitions: Sequence[Partition]) -> None:
    names = [p.manifest.site for p in partitions]
    left = np.zeros(len(partitions))
    for i, label in enumerate(partitions[0].manifest.labels):
        counts = np.array([p.labels[:, i].sum() for p in partitions])
        ax.barh(names, counts, left=left, label=label, height=0.7)
        left += counts
    ax.invert_yaxis()
    ax.set_xlabel("windows with the label", fontsize=8)
    ax.tick_params(labelsize=8)
    ax.spines[["top", "right"]].set_visible(False)
    ax.legend(fontsize=8, frameon=False, loc="center left", bbox_to_anchor=(1, 0.5))
