"""Tables of what a site or a federation holds."""

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

import numpy as np

from data_partitions.federation import open_federation
from data_partitions.layout import is_partition
from data_partitions.manifest import SPLITS, Manifest
from data_partitions.partition import Partition
from data_partitions.preparation_log import ProgressCallback
from data_partitions.table import Cell, Table, Value


def open_sites(path: str | Path) -> list[Partition]:
    """Open the sites of the federation at `path`, or the one site there; DataError if there is neither."""
    if is_partition(Path(path)):
        return [Partition.open(path, check=False)]
    federation = open_federation(path)
    return [federation.open_site(site, check=False) for site in federation.sites]


def sites_table(partitions: Sequence[Partition]) -> Table:
    """Make a table of windows per split, patients and modalities of each site."""
    manifest = partitions[0].manifest
    rows: list[list[Value]] = [
        [
            partition.manifest.site,
            *(partition.manifest.windows[split] for split in SPLITS),
            len(set(partition.patient_ids)),
            _describe_modalities(partition.manifest),
        ]
        for partition in partitions
    ]
    if len(partitions) > 1:
        windows = [sum(p.manifest.windows[split] for p in partitions) for split in SPLITS]
        patients = sum(len(set(p.patient_ids)) for p in partitions)
        rows.append(["all", *windows, patients, ""])
    title = f"{manifest.dataset} ({manifest.version}), {manifest.task}"
    return Table(title, ["site", *SPLITS, "patients", "modalities"], rows)


def labels_table(partitions: Sequence[Partition]) -> Table:
    """Make a table of windows, patients and labels per split, over all sites."""
    rows: list[list[Value]] = []

    def add(name: str, count: Callable[[Partition, np.ndarray], int]) -> None:
        rows.append([name, *(sum(count(p, p.rows(split)) for p in partitions) for split in SPLITS)])

    add("windows", lambda p, rows: len(rows))
    add("patients", lambda p, rows: len(set(p.patient_ids[rows])))
    for label in partitions[0].manifest.labels:
        add(label, partial(count_windows_with, label))
    if any(np.isnan(p.labels).any() for p in partitions):
        add("without labels", lambda p, rows: int(np.isnan(p.labels[rows]).any(axis=1).sum()))
    return Table("Labels", ["", *SPLITS], rows)


def covariates_table(partitions: Sequence[Partition]) -> Table | None:
    """Make a table of what is recorded of each covariate, over all sites; None without covariates."""
    rows: list[list[Value]] = []
    for position, covariate in enumerate(partitions[0].manifest.covariates):
        values = np.concatenate([p.covariates[:, position] for p in partitions])
        known = values[~np.isnan(values)]
        share = Cell(f"{len(known) / len(values):.1%}", len(known) / len(values))
        if covariate.categories:
            counts = [f"{name} {int((known == i).sum())}" for i, name in enumerate(covariate.categories)]
            rows.append([covariate.name, share, ", ".join(counts)])
        elif len(known):
            unit = f" {covariate.unit}" if covariate.unit else ""
            text = f"{known.min():g} to {known.max():g}{unit}, mean {known.mean():.4g}"
            rows.append([covariate.name, share, text])
        else:
            rows.append([covariate.name, share, None])
    return Table("Covariates", ["", "windows with it", "values"], rows) if rows else None


def count_windows_with(label: str, partition: Partition, rows: np.ndarray) -> int:
    """Count the windows among `rows` that have a label, or a number as the label of a regression."""
    manifest = partition.manifest
    if label not in manifest.labels:
        return len(rows)
    labels = partition.labels[rows, manifest.labels.index(label)]
    return int(np.isfinite(labels).sum() if manifest.task == "regression" else np.nansum(labels))


def modalities_table(partitions: Sequence[Partition], progress: ProgressCallback) -> Table:
    """Make a table of unit, rate and natural missingness of each modality, over the sites that have it."""
    totals: dict[str, np.ndarray] = {}
    done, total = 0, sum(map(len, partitions))
    for partition in partitions:
        for name, counts in partition.missing_counts().items():
            totals[name] = totals.get(name, 0) + np.array(counts)
        done += len(partition)
        progress("reading windows", done, total)
    rows: list[list[Value]] = []
    for m in partitions[0].manifest.modalities:
        sites = sum(
            any(other.present for other in p.manifest.modalities if other.name == m.name) for p in partitions
        )
        shares: list[Value] = ["", ""]
        if sites:
            samples, missing, windows, empty = totals[m.name]
            shares = [Cell(f"{share:.1%}", share) for share in (missing / samples, empty / windows)]
        rows.append([m.name, m.unit, Cell(format_rate(m.rate), m.rate), sites, *shares])
    columns = ["modality", "unit", "rate", "sites", "not observed", "empty windows"]
    return Table("Modalities", columns, rows)


def format_rate(rate: float) -> str:
    """Write a rate with a readable unit: 100 is "100 Hz", 1/3600 is "1/h"."""
    for per, unit in ((1, " Hz"), (60, "/min"), (3600, "/h"), (86400, "/d")):
        if rate * per >= 0.999:
            return f"{rate * per:g}{unit}"
    return f"{rate:.2g} Hz"


def _describe_modalities(manifest: Manifest) -> str:
    present = [m.name for m in manifest.modalities if m.present]
    absent = [m.name for m in manifest.modalities if not m.present]
    if not absent:
        return f"all {len(present)}"
    names = f"not {', '.join(absent)}" if len(absent) < len(present) else ", ".join(present)
    return f"{len(present)} of {len(manifest.modalities)}: {names}"
