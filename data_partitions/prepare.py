"""From the files of a data set to a federation of site partitions."""

from collections.abc import Sequence
from itertools import islice
from pathlib import Path
from types import ModuleType

import pandas as pd

from data_partitions.errors import DataError
from data_partitions.federation import (
    Federation,
    assign_patients,
    in_site_order,
    site_modalities,
    write_federation,
)
from data_partitions.manifest import SPLITS, Manifest
from data_partitions.preparation_log import PreparationLog
from data_partitions.storage import require_absent


def prepare_federation(
    reader: ModuleType,
    source: str | Path,
    out: str | Path,
    *,
    sites: int | None = None,
    split: str = "natural",
    alpha: float = 0.5,
    seed: int = 0,
    modalities: int | str | Sequence[str] = "all",
    report: PreparationLog | None = None,
    **options,
) -> Federation:
    """Read `source` with a module of `sources`, give its patients to sites and write the federation.

    `options` go to the reader (for PTB-XL rate, label_rule, task); the rest is explained at
    `assign_patients` and `site_modalities`. `report` is told of progress and of what was left out.
    Raises DataError; `out` then does not exist.
    """
    report = PreparationLog() if report is None else report
    require_absent(Path(out))
    schema = reader.schema(source, **options)
    index = reader.index(source, report, **options)
    labels = list(schema["labels"])
    unlabelled = ~index[labels].any(axis=1)
    if unlabelled.any():
        report.note(f"Left out as they have none of the labels: {int(unlabelled.sum())} records.")
        index = index[~unlabelled]
    if index.empty:
        raise DataError(f"no record of {source} is left to prepare: {' '.join(report.notes + report.bad)}")
    home = assign_patients(index, sites, split, seed, alpha, labels=labels, notes=report.notes)
    of_site = index["patient_id"].map(home)
    rows_of = {site: index[of_site == site] for site in in_site_order(set(home.values()))}
    settings = {
        "sites": sites,
        "split": split,
        "alpha": alpha,
        "seed": seed,
        "modalities": modalities,
        **options,
    }
    made_by = "condi prepare, " + ", ".join(f"{key}={value}" for key, value in settings.items())

    def windows():
        # Site after site, but in one go, so that a source made of large files is read once.
        found = reader.read(source, pd.concat(list(rows_of.values())), report, **options)
        for done, window in enumerate(found, start=1):
            report.progress("writing windows", done, len(index))
            yield window

    def partitions():
        all_windows = windows()
        for number, (site, rows) in enumerate(rows_of.items()):
            names = [m["name"] for m in schema["modalities"]]
            present = site_modalities(names, modalities, number, seed)
            fields = {
                **schema,
                "modalities": [{**m, "present": m["name"] in present} for m in schema["modalities"]],
                "windows": {name: int((rows["split"] == name).sum()) for name in SPLITS},
            }
            yield Manifest(site=site, made_by=made_by, **fields), rows, islice(all_windows, len(rows))
        for _ in all_windows:  # lets the reader finish, and say what it has counted
            raise DataError(f"more windows came from {source} than its index has rows")

    told = {"split": split, "seed": seed, "made_by": made_by, "notes": report.notes}
    try:
        return write_federation(out, partitions(), dataset=schema["dataset"], **told)
    except DataError as error:
        first = f"; the first that was left out: {report.bad[0]}" if report.bad else ""
        raise DataError(f"{error}{first}") from None
