"""The reader of a description: the recordings of a source, cut into windows with labels and splits."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from data_partitions.description.sections import Description
from data_partitions.duplicates import join_duplicates
from data_partitions.errors import DataError
from data_partitions.manifest import Split
from data_partitions.preparation_log import PreparationLog
from data_partitions.sentences import quote_some
from data_partitions.sources.described.covariates import CovariateReader
from data_partitions.sources.described.event_recordings import EventRecordings
from data_partitions.sources.described.label_texts import require_texts
from data_partitions.sources.described.labels import LabelRule, has_label
from data_partitions.sources.described.listing import ListedRecording, Listing
from data_partitions.sources.described.recording_windows import RecordingWindows, WindowReader
from data_partitions.sources.described.sampled import SampledRecordings
from data_partitions.sources.described.schema import manifest_fields
from data_partitions.sources.described.splits import split_patients
from data_partitions.sources.described.stays import find_event_files, is_over_time
from data_partitions.unfinished import hash_folder, hash_preparation


class DescribedDataset:
    """A `DatasetReader` over the files of a description.

    Parameters
    ----------
    description
        What the files contain and how they are read.
    """

    def __init__(self, description: Description) -> None:
        self.description = description
        self.rule = LabelRule(description)
        self._opened: dict[Path, WindowReader] = {}  # by the last call of `index`, which has found the files

    def schema(self, source: str | Path) -> dict[str, Any]:
        """Return the fields of the manifest; the source is not read."""
        return manifest_fields(self.description)

    def index(self, source: str | Path, log: PreparationLog) -> pd.DataFrame:
        """List the windows: see `DatasetReader`.

        Other columns are `recording_id`, `covariate NAME`, `modalities` (names of those that it has),
        and what `WindowReader.read` needs.
        """
        source = Path(source)
        windows = self._open(source)
        self._opened = {source: windows}
        listing = windows.list(log)
        self._note_listing(listing, log)
        self.rule.check_columns(listing.columns)
        require_texts(self.rule, listing.recordings, log)
        covariates = CovariateReader(self.description)
        covariates.check_columns(listing.columns)
        splits = split_patients(self.description, source, listing.recordings)
        used = [listed for listed in listing.recordings if self._is_used(listed, log)]
        if self.description.task.of == "patient" and not self.rule.by_annotations:
            used = self._drop_contradictions(used, log)
        cut = list(windows.cut(used, log))
        if not any(len(windows.starts) for _, windows in cut):
            raise DataError(f"no recording of {source} has a window{log.explain(log.counted())}")
        index = self._tabulate(source, cut, covariates)
        if bounds := self.description.task.range:
            label = index[self.rule.names[0]]
            outside = label.notna() & ~label.between(*bounds)
            index[label.name] = label.mask(outside)
            log.count("{} windows have no label, as it is outside its range.", int(outside.sum()))
        covariates.add_notes(log)
        patients = _join_duplicates(cut, splits, log)
        for column in patients:
            index[column] = patients[column].reindex(index["recording_id"]).to_numpy()
        if self.description.task.of == "patient" and self.rule.by_annotations:
            names = list(self.rule.names)  # what occurs in one recording, occurs in the patient
            index[names] = index.groupby("patient_id")[names].transform("max")
        return index

    def read(
        self, source: str | Path, rows: pd.DataFrame, log: PreparationLog, **more: Any
    ) -> Iterator[np.ndarray | None]:
        """Read the windows of rows of the index; of tables over time `checkpoint` may be given."""
        source = Path(source)
        windows = self._opened.get(source) or self._open(source)
        return windows.read(rows, log, **more)

    def _open(self, source: Path) -> WindowReader:
        kind = EventRecordings if is_over_time(self.description) else SampledRecordings
        return kind(self.description, source, self.rule)

    def resumption_key(self, source: str | Path, rows: pd.DataFrame) -> str:
        """Return a hash of the description, the rows, and their files; "" for tables over time."""
        if is_over_time(self.description):
            return ""
        files = [Path(source) / file for file in dict.fromkeys(rows["file"])]
        return hash_preparation(self.description.model_dump_json(), rows.drop(columns="modalities"), files)

    def pass_key(self, source: str | Path, rows: pd.DataFrame) -> str:
        """Return a hash of description, rows and their files; "" unless these are tables over time."""
        if not is_over_time(self.description):
            return ""
        files = dict.fromkeys(file.path for file in find_event_files(self.description, Path(source)))
        return hash_preparation(self.description.model_dump_json(), rows.drop(columns="modalities"), files)

    def index_key(self, source: str | Path) -> str:
        """Return a hash of the description and all files; "" unless these are tables over time."""
        if not is_over_time(self.description):
            return ""
        return hash_folder(self.description.model_dump_json(), Path(source))

    def _note_listing(self, listing: Listing, log: PreparationLog) -> None:
        for sentence in listing.faults:
            log.reject(DataError(sentence))
        for sentence in listing.clashes:
            log.note(f"{sentence}.")
        if rows := listing.rows_without_file:
            log.note(f"Rows that are left out, as they have no file ({len(rows)}): {quote_some(rows, 3)}.")
        if files := listing.files_without_row:
            log.note(
                f"Files that are left out, as the table has no row of them ({len(files)}): "
                f"{quote_some(files, 3)}."
            )

    def _is_used(self, listed: ListedRecording, log: PreparationLog) -> bool:
        """Return whether the row of a recording allows its use, and count it if not."""
        table = self.description.table
        if table.sites and listed.site not in table.sites:
            expected = ", ".join(text for texts in table.sites.values() for text in texts)
            text = f"{table.site} {listed.site or 'none'}"
            log.reject(DataError(f"recording {listed.record} has {text}, expected {expected}"))
            return False
        if not listed.patient:
            log.count("{} recordings are left out, as no patient is stated.")
            return False
        if not self.rule.by_annotations:
            try:
                labels = self.rule.label_row(listed.row)
            except DataError as error:
                log.reject(DataError(f"recording {listed.record}: {error}"))
                return False
            if labels is None:
                log.count("{} recordings are left out, as the label is in task.drop.")
                return False
        return True

    def _drop_contradictions(
        self, recordings: Sequence[ListedRecording], log: PreparationLog
    ) -> list[ListedRecording]:
        """Leave out patients whose recordings have different labels, where a label is of a patient."""
        labels: dict[str, set[bytes]] = defaultdict(set)
        for listed in recordings:
            of_row = self.rule.label_row(listed.row)
            if of_row is not None and has_label(of_row):
                labels[listed.patient].add(of_row.tobytes())
        different = [patient for patient, of_patient in labels.items() if len(of_patient) > 1]
        for patient in different:
            log.reject(
                DataError(f"patient {patient} has recordings with different labels, where each has one")
            )
        return [listed for listed in recordings if listed.patient not in set(different)]

    def _tabulate(
        self, source: Path, cut: list[tuple[ListedRecording, RecordingWindows]], covariates: CovariateReader
    ) -> pd.DataFrame:
        """Return a row for each window, without patient and split."""
        counts = [len(windows.starts) for _, windows in cut]

        def repeat(values: Iterable[Any]) -> pd.Series:
            column = np.empty(len(counts), object)
            column[:] = list(values)
            return pd.Series(column).repeat(counts).reset_index(drop=True)

        index = pd.DataFrame({"recording_id": repeat(listed.record for listed, _ in cut)})
        numbers = np.concatenate([windows.numbers for _, windows in cut])
        whole = self.description.window.take in ("first", "last")
        ids = zip(index["recording_id"], numbers, strict=True)
        index["record_id"] = [name if whole else f"{name}-{number:04d}" for name, number in ids]
        index["site"] = repeat(listed.site for listed, _ in cut)
        labels = np.concatenate([windows.labels for _, windows in cut])
        for position, name in enumerate(self.rule.names):
            index[name] = labels[:, position]
        cells = pd.DataFrame([covariates.read(listed.row) for listed, _ in cut])
        for column in cells:
            index[column] = repeat(cells[column])
        path_of = {file: file.relative_to(source).as_posix() for file in {listed.file for listed, _ in cut}}
        index["file"] = repeat(path_of[listed.file] for listed, _ in cut)
        index["part"] = repeat(listed.part for listed, _ in cut)
        index["start"] = np.concatenate([windows.starts for _, windows in cut])
        index["modalities"] = repeat(windows.modalities for _, windows in cut)
        return index


def _join_duplicates(
    cut: list[tuple[ListedRecording, RecordingWindows]], splits: Mapping[str, Split], log: PreparationLog
) -> pd.DataFrame:
    """Return patient_id and split by recording; patients who share a file of samples are one."""
    patients = pd.DataFrame(
        {
            "patient_id": [listed.patient for listed, _ in cut],
            "split": [splits[listed.patient] for listed, _ in cut],
        },
        index=[listed.record for listed, _ in cut],
    )
    signals = [windows.signal_file for _, windows in cut if windows.signal_file]
    if len(set(signals)) == len(patients):
        join_duplicates(signals, patients, log)
    return patients
