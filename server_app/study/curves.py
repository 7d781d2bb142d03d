"""Curves over missingness: a metric against the share that test windows lack, one line a method."""

from __future__ import annotations

import io
import math
from collections.abc import Sequence
from dataclasses import dataclass

from condi_core.evaluation.catalogue import TASK_METRICS
from data_partitions.missingness import AMOUNTS
from server_app.study.results import Row
from server_app.study.statistics import mean_sd
from server_app.study.tables import in_order

MARKERS = "osD^vPX*<>"


@dataclass(frozen=True)
class Panel:
    """One picture: of each method (share missing, mean, standard deviation) in the order of shares."""

    title: str
    lines: dict[str, list[tuple[float, float, float]]]


def panels(rows: Sequence[Row], metric: str) -> list[Panel]:
    """A panel for each data set, partition and kind of holes of which there is more than one share.

    A kind is which mechanisms take part; no holes at all belong to every kind. Where test windows have other
    holes than training windows, each kind of training is a panel of its own.
    """
    groups: dict[tuple, list[Row]] = {}
    for row in rows:
        groups.setdefault((row["data"], row["partition"], _kind(row)), []).append(row)
    found = []
    for (data, partition, kind), mine in groups.items():
        if not kind:
            continue
        mine = mine + [row for row in rows if row not in mine and _belongs(row, data, partition, kind)]
        lines = {}
        for method in in_order([str(row["method"]) for row in mine]):
            at: dict[float, list[float]] = {}
            for row in mine:
                if row["method"] == method and row.get(metric) is not None:
                    at.setdefault(round(float(row["missing-in-test"]), 6), []).append(float(row[metric]))
            lines[method] = [(share, *mean_sd(values)) for share, values in sorted(at.items())]
        if any(len(line) > 1 for line in lines.values()):
            found.append(Panel(f"{data}, {partition}: {kind}", lines))
    return found


def _belongs(row: Row, data: str, partition: str, kind: str) -> bool:
    """Whether a row of another kind is an end of a panel's curves: no holes, or those of its training."""
    here = (row["data"], row["partition"]) == (data, partition) and row[
        "test-missingness"
    ] == "as in training"
    return here and (
        kind == f"trained with {row['missingness']}" if kind.startswith("trained") else not _kind(row)
    )


def _kind(row: Row) -> str:
    if row["test-missingness"] != "as in training":
        return f"trained with {row['missingness']}"
    parts = [part for part in str(row["missingness"]).split() if part != "none"]
    return ", ".join(part.partition("=")[0] if part.partition("=")[0] in AMOUNTS else part for part in parts)


def draw(found: Sequence[Panel], metric: str, format: str = "svg") -> bytes | None:
    """The panels one below the other; None when matplotlib is not installed."""
    try:
        from matplotlib.figure import Figure
    except ImportError:
        return None
    figure = Figure(figsize=(7, 3.6 * len(found)), layout="constrained")
    for ax, panel in zip(figure.subplots(len(found), 1, squeeze=False)[:, 0], found, strict=True):
        for i, (method, points) in enumerate(panel.lines.items()):
            shares, means, deviations = zip(*points, strict=True)
            spread = [0.0 if math.isnan(sd) else sd for sd in deviations]
            width = 2.2 if method == "condi" else 1.2
            ax.errorbar([100 * s for s in shares], means, spread, label=method, lw=width, capsize=2,
                        marker=MARKERS[i % len(MARKERS)], ms=4, color=f"C{i % 10}",
                        ls="-" if i < 10 else "--")  # fmt: skip
        ax.set_title(panel.title, fontsize=10)
        ax.set_xlabel("missing in test windows of what was measured, %")
        ax.set_ylabel(TASK_METRICS[metric].label)
        ax.spines[["top", "right"]].set_visible(False)
        ax.legend(fontsize=8, frameon=False, loc="center left", bbox_to_anchor=(1, 0.5))
    out = io.BytesIO()
    figure.savefig(out, format=format, dpi=130)
    return out.getvalue()
