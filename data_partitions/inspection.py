"""What a site or a federation holds, as tables that fit 80 columns."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from rich.table import Table

from data_partitions.federation import open_federation
from data_partitions.manifest import SPLITS, Manifest
from data_partitions.partition import Partition
from data_partitions.preparation_log import ProgressCallback


def open_sites(path: str | Path) -> list[Partition]:
    """The sites of a federation, or the one site, at `path`. Raises DataError when it is neither."""
    if (Path(path) / "manifest.json").exists():
        return [Partition.open(path, check=False)]
    federation = open_federation(path)
    return [federation.open_site(site, check=False) for site in federation.sites]


def sites_table(partitions: Sequence[Partition]) -> Table:
    """Windows per split, patients and modalities of each site."""
    manifest = partitions[0].manifest
    title = f"{manifest.dataset} ({manifest.version}), {manifest.task}"
    table = Table("site", title=title, title_justify="left")
    for name in (*SPLITS, "patients"):
        table.add_column(name, justify="right")
    table.add_column("modalities")
    for partition in partitions:
        table.add_row(
            partition.manifest.site,
            *(str(partition.manifest.windows[split]) for split in SPLITS),
            str(len(set(partition.patient_ids))),
            _modalities_in_words(partition.manifest),
        )
    if len(partitions) > 1:
        sums = [sum(p.manifest.windows[split] for p in partitions) for split in SPLITS]
        patients = sum(len(set(p.patient_ids)) for p in partitions)
        table.add_section()
        table.add_row("all", *map(str, sums), str(patients))
    return table


def labels_table(partitions: Sequence[Partition]) -> Table:
    """Windows, patients and each label, per split, added up over the sites."""
    table = Table("", *SPLITS)
    for column in table.columns[1:]:
        column.justify = "right"

    def add(name: str, count) -> None:
        table.add_row(name, *(str(sum(count(p, p.rows(split)) for p in partitions)) for split in SPLITS))

    add("windows", lambda p, rows: len(rows))
    add("patients", lambda p, rows: len(set(p.patient_ids[rows])))
    table.add_section()
    for i, label in enumerate(partitions[0].manifest.labels):
        add(label, lambda p, rows, i=i: int(p.labels[rows, i].sum()))
    return table


def modalities_table(partitions: Sequence[Partition], progress: ProgressCallback) -> Table:
    """Unit, rate and natural missingness of each modality, over the sites that have it."""
    totals, done, of = {}, 0, sum(map(len, partitions))
    for partition in partitions:
        for name, counts in partition.missing().items():
            totals[name] = totals.get(name, 0) + np.array(counts)
        done += len(partition)
        progress("reading windows", done, of)
    table = Table("modality", "unit")
    for name in ("rate", "sites", "not observed", "windows without any"):
        table.add_column(name, justify="right")
    for m in partitions[0].manifest.modalities:
        there = sum(
            any(other.present for other in p.manifest.modalities if other.name == m.name) for p in partitions
        )
        row = [m.name, m.unit, rate_in_words(m.rate), str(there)]
        if there:
            samples, missing, windows, without = totals[m.name]
            row += [f"{missing / samples:.1%}", f"{without / windows:.1%}"]
        table.add_row(*row)
    return table


def rate_in_words(rate: float) -> str:
    """100 -> "100 Hz", 1/3600 -> "1/h"."""
    for per, unit in ((1, " Hz"), (60, "/min"), (3600, "/h"), (86400, "/d")):
        if rate * per >= 0.999:
            return f"{rate * per:g}{unit}"
    return f"{rate:.2g} Hz"


def _modalities_in_words(manifest: Manifest) -> str:
    present = [m.name for m in manifest.modalities if m.present]
    lacking = [m.name for m in manifest.modalities if not m.present]
    if not lacking:
        return f"all {len(present)}"
    some = f"not {', '.join(lacking)}" if len(lacking) < len(present) else ", ".join(present)
    return f"{len(present)} of {len(manifest.modalities)}: {some}"
