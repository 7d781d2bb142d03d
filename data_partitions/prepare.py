"""Turn the files of a data set into the partition of one site, or into a federation of several."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from data_partitions.assignment import MIN_TRAIN_WINDOWS, assign_patients, select_modalities
from data_partitions.checkpoint import Checkpoint
from data_partitions.errors import DataError
from data_partitions.federation import Federation, sort_site_names, write_federation
from data_partitions.manifest import Manifest
from data_partitions.partition import EmptyPartitionError, Partition, write_partition
from data_partitions.preparation_log import PreparationLog
from data_partitions.resumption import Resumption
from data_partitions.sentences import list_some
from data_partitions.site_modalities import drop_absent, find_present, make_manifest
from data_partitions.site_names import require_site_name
from data_partitions.small_sites import note_small_sites
from data_partitions.sources import DatasetReader
from data_partitions.storage import require_absent, reserve_output
from data_partitions.unfinished import read_index_once, unfinished_folder

Modalities = int | str | Sequence[str]
MAX_HOSPITALS = 20  # in the message on one that is not recorded


def prepare_federation(
    reader: DatasetReader,
    source: str | Path,
    out: str | Path,
    *,
    sites: int | None = None,
    split: str = "natural",
    alpha: float = 0.5,
    smallest_site: int = MIN_TRAIN_WINDOWS,
    seed: int = 0,
    modalities: Modalities = "all",
    log: PreparationLog | None = None,
    **options: Any,
) -> Federation:
    """Read a data set, assign its patients to sites and write the federation.

    Parameters
    ----------
    reader
        Module of the data set, from `sources`, or the reader of a description.
    source
        Folder of the data set.
    out
        Directory of the federation, which must not exist.
    sites, split, alpha, smallest_site, seed
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
    out = Path(out)
    require_absent(out)
    with reserve_output(out), unfinished_folder(out) as folder:
        schema, index = _read_index(reader, source, folder, log, options)
        site_of_patient = assign_patients(
            index,
            sites,
            split,
            seed,
            alpha,
            labels=list(schema["labels"]),
            task=schema["task"],
            smallest_site=smallest_site,
            notes=log.notes,
        )
        site_of_row = index["patient_id"].map(site_of_patient)
        rows_by_site = {
            site: index[site_of_row == site] for site in sort_site_names(set(site_of_patient.values()))
        }
        for site in rows_by_site:
            require_site_name(site)
        note_small_sites(rows_by_site, schema, log)
        settings = {"sites": sites, "split": split, "alpha": alpha, "seed": seed, "modalities": modalities}
        made_by = _describe_command({**settings, **options})
        rows = pd.concat(list(rows_by_site.values()))

        names = [m["name"] for m in schema["modalities"]]
        present = {
            site: find_present(site, rows, select_modalities(names, modalities, number, seed))
            for number, (site, rows) in enumerate(rows_by_site.items())
        }

        def make_sites(
            windows: Iterator[np.ndarray | None],
        ) -> Iterator[tuple[Manifest, pd.DataFrame, Iterator[np.ndarray | None]]]:
            fields, windows = drop_absent(schema, list(present.values()), windows, log)
            for site, rows in rows_by_site.items():
                manifest = make_manifest(fields, site, rows, present[site], made_by)
                yield manifest, rows, islice(windows, len(rows))
            for _ in windows:  # the reader must finish, because it adds notes at its end
                raise DataError(f"more windows came from {source} than its index has rows")

        # All sites in one call, so that a source made of large files is read once.
        with (
            _explain_rejections(log),
            _read_windows(reader, source, folder, rows, schema, log, options) as windows,
        ):
            return write_federation(
                out,
                make_sites(windows),
                dataset=schema["dataset"],
                split=split,
                seed=seed,
                made_by=made_by,
                notes=log.notes,
            )


def prepare_site(
    reader: DatasetReader,
    source: str | Path,
    out: str | Path,
    site: str,
    *,
    modalities: Modalities = "all",
    log: PreparationLog | None = None,
    **options: Any,
) -> Partition:
    """Read a data set and write it as the partition of one site; parameters as in `prepare_federation`.

    If the data set records hospitals, only the records of the one that is called `site` are used.
    """
    log = PreparationLog() if log is None else log
    out = Path(out)
    require_site_name(site)
    require_absent(out)
    with reserve_output(out), unfinished_folder(out) as folder:
        schema, index = _read_index(reader, source, folder, log, options)
        if index["site"].ne("").any():
            hospitals = index["site"].unique()
            if site not in hospitals:
                raise DataError(
                    f'{source} records no hospital "{site}": choose from '
                    f"{list_some(hospitals, MAX_HOSPITALS)}, or leave `site` out of [table]"
                )
            index = index[index["site"] == site]
        note_small_sites({site: index}, schema, log)
        names = [m["name"] for m in schema["modalities"]]
        made_by = _describe_command({"site": site, "modalities": modalities, **options})
        present = find_present(site, index, select_modalities(names, modalities, 0, 0))
        manifest = make_manifest(schema, site, index, present, made_by)
        with (
            _explain_rejections(log),
            _read_windows(reader, source, folder, index, schema, log, options) as windows,
        ):
            write_partition(out, manifest, index, windows)
        return Partition.open(out, check=False)


def _read_index(
    reader: DatasetReader, source: str | Path, folder: Path, log: PreparationLog, options: dict[str, Any]
) -> tuple[dict[str, Any], pd.DataFrame]:
    schema = reader.schema(source, **options)
    if hasattr(reader, "index_key") and (key := reader.index_key(source)):
        index = read_index_once(folder, key, lambda: reader.index(source, log, **options), log)
    else:
        index = reader.index(source, log, **options)
    if index.empty:
        raise DataError(f"no record of {source} can be used{log.explain(log.notes)}")
    return schema, index


@contextmanager
def _read_windows(
    reader: DatasetReader,
    source: str | Path,
    folder: Path,
    rows: pd.DataFrame,
    schema: dict[str, Any],
    log: PreparationLog,
    options: dict[str, Any],
) -> Iterator[Iterator[np.ndarray | None]]:
    """Yield an iterator over the windows of the rows; what is read already is not read again."""

    def read_from(first: int, **more: Any) -> Iterator[np.ndarray | None]:
        return reader.read(source, rows.iloc[first:], log, **options, **more)

    def show_progress(windows: Iterator[np.ndarray | None]) -> Iterator[np.ndarray | None]:
        for done, window in enumerate(windows, start=1):
            log.progress("writing windows", done, len(rows))
            yield window

    if hasattr(reader, "pass_key") and (key := reader.pass_key(source, rows, **options)):
        yield show_progress(read_from(0, checkpoint=Checkpoint(folder, key, log)))
        return
    recordings = rows["recording_id"] if "recording_id" in rows else rows["record_id"]
    key = reader.resumption_key(source, rows) if hasattr(reader, "resumption_key") else ""
    if not key:
        yield show_progress(read_from(0))
        return
    samples = max(m["samples_per_patch"] for m in schema["modalities"])
    shape = (len(schema["modalities"]), schema["patches"], samples)
    with Resumption(folder, key, shape, log) as resumption:
        if resumption.rows_done:
            log.note(f"Windows that were read before an interruption: {resumption.rows_done}.")
        yield show_progress(resumption.read(recordings.tolist(), read_from))


@contextmanager
def _explain_rejections(log: PreparationLog) -> Iterator[None]:
    """Add to the message of a DataError what was left out, if that is everything, and the first rejection."""
    try:
        yield
    except DataError as error:
        counts = log.counted() if isinstance(error, EmptyPartitionError) else ()
        raise DataError(f"{error}{log.explain(counts)}") from None


def _describe_command(settings: dict[str, Any]) -> str:
    return "condi prepare, " + ", ".join(f"{key}={value}" for key, value in settings.items())
