"""Annotations of a recording: onset and duration in s from its start, and a text.

Kinds of files: EDF+, csv, WFDB annotators, and the xml of the National Sleep Research Resource (NSRR).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from datetime import datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple

import pandas as pd

from data_partitions.cell_texts import normalise
from data_partitions.description.sections import Description
from data_partitions.errors import DataError
from data_partitions.recordings.recording import Recording
from data_partitions.sentences import count_noun, list_some, quote_some
from data_partitions.sources.described.files import fields_of_pattern, fill_pattern, match_files
from data_partitions.sources.described.listing import ListedRecording
from data_partitions.sources.described.table import parse_stamp, parse_time, read_cells, subtract_start

NOTE_SYMBOL = "+"  # of a WFDB annotation whose text is a note, such as a rhythm


class Annotation(NamedTuple):
    """An event (duration 0) or a state."""

    onset: float
    duration: float
    text: str


class AnnotationReader:
    """Finds and reads the annotations of recordings, as `[annotations]` says."""

    def __init__(self, description: Description, source: Path) -> None:
        if description.annotations is None:
            raise ValueError("the description has no annotations")
        self.section = description.annotations
        self.record_column = description.table.record or description.files.record
        self.source = source
        self._files: dict[tuple[str, ...], list[Path]] | None = None
        # The csv file that was read last, as a file may have all recordings.
        self._table_file: Path | None = None
        self._table = pd.DataFrame()
        self._rows: dict[str, pd.DataFrame] | None = None
        self._ids: dict[Path, list[str]] = {}  # of the recordings of csv files
        self._with_rows: list[str] = []
        self._without_rows: list[str] = []

    def read(self, listed: ListedRecording, recording: Recording) -> list[Annotation]:
        """Return the annotations of a recording by onset, without those to drop; DataError if unreadable."""
        file = self._file_of(listed)
        annotations = READERS[self.section.source](self, file, listed, recording)
        dropped = set(self.section.drop)
        return sorted(a for a in annotations if a.text not in dropped)

    def rows_of(self, file: Path, listed: ListedRecording) -> pd.DataFrame:
        """Return the rows of a recording in a csv file, which may have several recordings."""
        if file != self._table_file:
            table = read_cells(file)
            for column in (self.section.onset, self.section.text):
                if column not in table:
                    raise DataError(f"{file} has no column {column}: it has {', '.join(table.columns)}")
            columns = [column for column in (self.record_column, "record") if column in table]
            self._table_file, self._table = file, table
            self._rows = None
            if columns:
                ids = table[columns[0]].map(normalise)
                self._rows = {str(name): rows for name, rows in table.groupby(ids)}
                self._ids[file] = list(self._rows)
        if self._rows is None:
            return self._table
        record = normalise(listed.record)
        (self._with_rows if record in self._rows else self._without_rows).append(listed.record)
        return self._rows.get(record, self._table.iloc[:0])

    def describe_ids(self, recordings: Iterable[str]) -> list[str]:
        """Return sentences on recordings that were read without a row in their csv file, and rows of no one.

        DataError when no recording that was read has a row. `recordings` are all of the source.
        """
        if not self._ids:
            return []
        names = set(map(normalise, recordings))
        others = [name for ids in self._ids.values() for name in ids if name not in names]
        if not self._with_rows:
            raise DataError(
                f"no recording has a row in {list_some(self._ids)}: recordings are "
                f"{quote_some(self._without_rows, 3)}, and rows are of {quote_some(others, 3)}"
            )
        sentences = []
        if without := self._without_rows:
            sentences.append(
                f"Recordings without a row of annotations ({len(without)}): {quote_some(without, 3)}."
            )
        if others:
            sentences.append(
                f"Rows of annotations that are of no recording ({len(others)} ids): {quote_some(others, 3)}."
            )
        return sentences

    def _file_of(self, listed: ListedRecording) -> Path:
        path = self.section.path
        if self.section.source == "wfdb" and path.isidentifier():
            file = listed.file.with_suffix(f".{path}")
        elif not path:
            file = listed.file
        else:
            file = self._matching_file(path, listed)
        if not file.is_file():
            raise DataError(f"recording {listed.record} has no annotations: there is no {file}")
        return file

    def _matching_file(self, pattern: str, listed: ListedRecording) -> Path:
        """Return the file that fits the pattern with the recording's fields in it."""
        names = [name for name in fields_of_pattern(pattern) if name in listed.row]
        if self._files is None:
            self._files = {}
            for match in match_files(self.source, pattern, names):
                self._files.setdefault(tuple(normalise(match.fields[name]) for name in names), []).append(
                    match.path
                )
        files = self._files.get(tuple(normalise(listed.row[name]) for name in names), [])
        if len(files) != 1:
            expected = fill_pattern(pattern, {**{n: "*" for n in fields_of_pattern(pattern)}, **listed.row})
            raise DataError(
                f"recording {listed.record} has {count_noun(len(files), 'file')} of annotations, where one "
                f"was expected: {expected}"
            )
        return files[0]


def _read_wfdb(
    reader: AnnotationReader, file: Path, listed: ListedRecording, recording: Recording
) -> list[Annotation]:
    import wfdb

    try:
        content = wfdb.rdann(str(file.with_suffix("")), file.suffix[1:])
    except Exception as error:  # wfdb raises errors of many kinds
        raise DataError(f"{file} is not a readable WFDB annotation file ({_first_line(error)})") from None
    rate = content.fs or recording.channels[0].rate
    onsets = [sample / rate for sample in content.sample]
    notes = [note.strip("\x00 ") for note in content.aux_note]
    seconds = max((channel.samples / channel.rate for channel in recording.channels), default=0.0)
    # A rhythm lasts until the next one.
    changes = [i for i, symbol in enumerate(content.symbol) if symbol == NOTE_SYMBOL and notes[i]]
    ends = dict(zip(changes, [onsets[i] for i in changes[1:]] + [seconds], strict=True))
    return [
        Annotation(onset, ends[i] - onset, notes[i]) if i in ends else Annotation(onset, 0.0, symbol)
        for i, (onset, symbol) in enumerate(zip(onsets, content.symbol, strict=True))
    ]


def _read_edf(
    reader: AnnotationReader, file: Path, listed: ListedRecording, recording: Recording
) -> list[Annotation]:
    from data_partitions.recordings.edf_header import read_edf_header

    try:
        content = _read_edf_annotations(file)
    except Exception as error:
        raise DataError(f"{file} has no readable EDF+ annotations ({_first_line(error)})") from None
    late = 0.0
    time_of_day = read_edf_header(file).time_of_day
    if file != listed.file and recording.start is not None and time_of_day is not None:
        # Only the time of day counts, as an error in the date is more likely than starts 12 h apart.
        start = recording.start
        of_recording = 3600 * start.hour + 60 * start.minute + start.second
        late = (time_of_day - of_recording + 12 * 3600) % (24 * 3600) - 12 * 3600
    rows = zip(content.onset, content.duration, content.description, strict=True)
    return [Annotation(float(onset) + late, float(duration), text.strip()) for onset, duration, text in rows]


def _read_edf_annotations(file: Path) -> Any:
    """Read EDF+ annotations; mne takes lower-case suffixes only, and UTF-8 unless it is another encoding."""
    import mne

    with TemporaryDirectory() as folder:
        link = Path(folder) / f"annotations{file.suffix.lower()}"
        link.symlink_to(file.resolve())
        try:
            return mne.read_annotations(link)
        except UnicodeDecodeError:
            return mne.read_annotations(link, encoding="latin1")


def _read_csv(
    reader: AnnotationReader, file: Path, listed: ListedRecording, recording: Recording
) -> list[Annotation]:
    section = reader.section
    table = reader.rows_of(file, listed)
    is_stamped = section.time_unit == "datetime"
    unit = "s" if is_stamped else section.time_unit
    annotations = []
    for row in table.to_dict("records"):
        try:
            stamp = parse_stamp(row[section.onset]) if is_stamped else None
            onset = 0.0 if is_stamped else parse_time(row[section.onset], unit, "")
            duration = parse_time(row.get(section.duration) or "0", unit, "")
        except ValueError:
            raise DataError(
                f'{file} has onset "{row[section.onset]}" and duration "{row.get(section.duration, "")}", '
                f"where times in {section.time_unit} were expected"
            ) from None
        if stamp is not None:
            onset = subtract_start(stamp, _start_of(recording, file), file, recording.file)
        annotations.append(Annotation(onset, duration, row[section.text]))
    return annotations


def _start_of(recording: Recording, file: Path) -> datetime:
    if recording.start is None:
        raise DataError(f"{file} has time stamps, but {recording.file} does not state when it starts")
    return recording.start


def _read_nsrr_xml(
    reader: AnnotationReader, file: Path, listed: ListedRecording, recording: Recording
) -> list[Annotation]:
    from xml.etree.ElementTree import ParseError

    from defusedxml import DefusedXmlException
    from defusedxml.ElementTree import parse

    try:
        events = list(parse(file).iter("ScoredEvent"))
        return [
            Annotation(
                float(event.findtext("Start", "")),
                float(event.findtext("Duration", "0")),
                event.findtext("EventConcept", "").strip(),
            )
            for event in events
        ]
    except (ParseError, DefusedXmlException, ValueError, OSError) as error:
        raise DataError(f"{file} is not a readable xml of scored events ({_first_line(error)})") from None


READERS: dict[str, Callable[[AnnotationReader, Path, ListedRecording, Recording], list[Annotation]]] = {
    "wfdb": _read_wfdb,
    "edf+": _read_edf,
    "csv": _read_csv,
    "nsrr-xml": _read_nsrr_xml,
}


def _first_line(error: Exception) -> str:
    return str(error).splitlines()[0] if str(error) else type(error).__name__
