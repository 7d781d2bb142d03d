"""Turn the files of a data set into a federation of site partitions."""

from collections.abc import Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from data_partitions.assignment import assign_patients, select_modalities
from data_partitions.errors import DataError
from data_partitions.federation import Federation, sort_site_names, write_federation
from data_partitions.manifest import Manifest
from data_partitions.preparation_log import PreparationLog
from data_partitions.sources import DatasetReader
from data_partitions.storage import require_absent
from data_partitions.windows_table import count_windows


def prepare_federation(
    reader: DatasetReader,
    source: str | Path,
    out: str | Path,
    *,
    sites: int | None = None,
    split: str = "natural",
    alpha: float = 0.5,
    seed: int = 0,
    modalities: int | str | Sequence[str] = "all",
    log: PreparationLog | None = None,
    **options: Any,
) -> Federation:
    """Read a data set, assign its patients to sites and write the federation.

    Parameters
    ----------
    reader
        Module of the data set, from `sources`.
    source
        Folder of the data set.
    out
        Directory of the federation, which must not exist.
    sites, split, alpha, seed
        How patients are assigned to sites; see `assign_patients`.
    modalities
        Which modalities a site has; see `select_modalities`.
    log
        Log that receives the progress, notes and rejected records.
    **options
        Options of the reader, such as rate, label_rule and task for PTB-XL.

    Raises
    ------
    DataError
        The data set or the options cannot be used; `out` then does not exist.
    """
    log = PreparationLog() if log is None else log
    require_absent(Path(out))
    schema = reader.schema(source, **options)
    index = reader.index(source, log, **options)
    labels = list(schema["labels"])
    if index.empty:
        raise DataError(f"no record of {source} can be used: {' '.join(log.notes + log.rejected)}")
    site_of_patient = assign_patients(index, sites, split, seed, alpha, labels=labels, notes=log.notes)
    site_of_row = index["patient_id"].map(site_of_patient)
    rows_by_site = {
        site: index[site_of_row == site] for site in sort_site_names(set(site_of_patient.values()))
    }
    settings = {
        "sites": sites,
        "split": split,
        "alpha": alpha,
        "seed": seed,
        "modalities": modalities,
        **options,
    }
    made_by = "condi prepare, " + ", ".join(f"{key}={value}" for key, value in settings.items())

    def read_windows() -> Iterator[np.ndarray | None]:
        # All sites in one call, so that a source made of large files is read once.
        windows = reader.read(source, pd.concat(list(rows_by_site.values())), log, **options)
        for done, window in enumerate(windows, start=1):
            log.progress("writing windows", done, len(index))
            yield window

    def make_sites() -> Iterator[tuple[Manifest, pd.DataFrame, Iterator[np.ndarray | None]]]:
        windows = read_windows()
        names = [m["name"] for m in schema["modalities"]]
        for number, (site, rows) in enumerate(rows_by_site.items()):
            present = select_modalities(names, modalities, number, seed)
            fields = {
                **schema,
                "modalities": [{**m, "present": m["name"] in present} for m in schema["modalities"]],
                "windows": count_windows(rows),
            }
            yield Manifest(site=site, made_by=made_by, **fields), rows, islice(windows, len(rows))
        for _ in windows:  # the reader must finish, because it adds notes at its end
            raise DataError(f"more windows came from {source} than its index has rows")

    try:
        return write_federation(
            out,
            make_sites(),
            dataset=schema["dataset"],
            split=split,
            seed=seed,
            made_by=made_by,
            notes=log.notes,
        )
    except DataError as error:
        first = f"; the first rejected record: {log.rejected[0]}" if log.rejected else ""
        raise DataError(f"{error}{first}") from None
