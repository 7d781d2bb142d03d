"""The draft of a description of tables over time: csv and parquet files, wide or long."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import NamedTuple

import numpy as np
import pandas as pd

from data_partitions.checks.guess.arrays import guess_sampled_tables
from data_partitions.checks.guess.draft import Draft, start_draft
from data_partitions.checks.guess.event_sample import (
    EventLayout,
    EventSample,
    collect_events,
    drop_codes,
    find_layout,
)
from data_partitions.checks.guess.event_signals import find_properties, write_event_signals, write_properties
from data_partitions.checks.guess.folder import FolderFiles, name_in_pattern, pattern_of, sample_evenly
from data_partitions.checks.guess.record_table import find_record_table
from data_partitions.checks.guess.roles import find_patient, find_site
from data_partitions.checks.guess.table_sections import (
    write_covariates,
    write_form,
    write_split,
    write_table,
    write_task,
)
from data_partitions.checks.guess.tables import (
    ColumnFacts,
    Written,
    describe_column,
    sniff_table,
    sniff_tables,
)
from data_partitions.description.durations import format_approximately, format_seconds
from data_partitions.errors import DataError
from data_partitions.events.files import EventFile, list_members, open_files
from data_partitions.events.spacing import MAX_STEPS_APART
from data_partitions.preparation_log import ProgressCallback
from data_partitions.sentences import count_noun, list_some

MAX_SAMPLED = 200  # files that are read
MIN_FILES = 5  # with one header, for each to be a recording
MAX_BYTES = 2**24  # of a member of an archive that are read
LENGTHS = tuple(hours * 3600.0 for hours in (1, 6, 12, 24, 48, 72))
STEPS = (1.0, 5.0, 15.0, 60.0, 300.0, 900.0, 1800.0, 3600.0)
SPANNING_SHARE = 0.5  # of the recordings that should be as long as a window
DEFAULT_MISSING = ["", "NA", "NaN", "nan", "null"]


class EventFiles(NamedTuple):
    """Files with measurements."""

    paths: list[str]  # relative paths; of an archive those of its members
    archive: str  # relative path of the archive, or ""
    # The tables that were read, each with the name of its recording, or "" if a column names it.
    frames: list[tuple[str, pd.DataFrame]]
    layout: EventLayout  # what the columns are, and how the text is written
    written: Written

    @property
    def pattern(self) -> str:
        return pattern_of(self.paths, "record") if self.one_per_recording else self.paths[0]

    @property
    def one_per_recording(self) -> bool:
        return not self.layout.record

    @property
    def records(self) -> list[str]:
        """Names of the recordings: of all files, or of the rows that were read."""
        if self.one_per_recording:
            end = self.pattern.rpartition("}")[2]
            return [name_in_pattern(path, end) for path in self.paths]
        return [str(text) for text in pd.unique(self.frames[0][1][self.layout.record])]


def guess_events(folder: FolderFiles, progress: ProgressCallback) -> str:
    """Draft a description of tables over time; DataError if the folder has none."""
    kind = "csv" if folder.of_kind("csv") or folder.of_kind("archive") else "parquet"
    groups = [paths for kind in ("csv", "parquet") for paths in _group_by_folder(folder.of_kind(kind))]
    events = _find_event_files(folder, groups, progress)
    if events is None:
        for paths in groups:
            if len(paths) >= MIN_FILES and (text := guess_sampled_tables(folder, paths)):
                return text
        paths = [path for paths in groups for path in paths]
        listed = f"{count_noun(len(paths), 'table')} ({list_some(paths)})"
        raise DataError(
            f"{folder.source} has {listed}, but none has a column of times and one of recordings, and there "
            "is no file for each recording: start from condi dataset new csv"
        )
    kind = "parquet" if events.paths[0].endswith((".parquet", ".pq")) else kind
    tables = sniff_tables(folder, events.paths)
    draft = start_draft(folder.source)
    sample = collect_events(events.frames, events.layout, events.written.decimal)
    chosen = find_record_table(tables, events.records)
    properties = find_properties(sample)
    sample, codes = drop_codes(sample)
    _write_files(draft, events, kind, chosen.record if chosen else "record", codes)
    columns: dict[str, ColumnFacts] = {}
    if chosen:
        columns = dict(write_table(draft, chosen, folder.source, tables).columns)
    else:
        _write_record_columns(draft, events)
        if tables:
            names = [table.path.name for table in tables]
            draft.comment("table", f"No column of ({list_some(names)}) has the names of the recordings.")
    _write_window(draft, sample, events.layout)
    write_event_signals(draft, sample, properties)
    columns |= write_properties(draft, sample, properties, columns) if events.layout.variable else {}
    write_task(draft, columns)
    write_split(draft, columns)
    write_covariates(draft, columns)
    return draft.to_toml()


def _group_by_folder(paths: Sequence[str]) -> list[list[str]]:
    groups: dict[tuple[str, str], list[str]] = defaultdict(list)
    for path in paths:
        pure = PurePosixPath(path)
        groups[str(pure.parent), "".join(pure.suffixes[-2:])].append(path)
    return sorted(groups.values(), key=len, reverse=True)


def _find_event_files(
    folder: FolderFiles, groups: Sequence[Sequence[str]], progress: ProgressCallback
) -> EventFiles | None:
    """Return the largest set of tables over time: many files of one header, an archive, or one table."""
    for paths in groups:
        if len(paths) >= MIN_FILES:
            contents = [(path, None) for path in sample_evenly(paths, MAX_SAMPLED)]
            if events := _read_many(folder.source, list(paths), "", contents, progress):
                return events
    for archive in folder.of_kind("archive"):
        if events := _read_archive(folder.source, archive, progress):
            return events
    singles = [path for paths in groups for path in paths]
    singles.sort(key=lambda path: -(folder.source / path).stat().st_size)
    for path in singles[:20]:
        try:
            table = sniff_table(folder.source / path)
        except DataError:
            continue
        layout = find_layout(table.columns, one_file_per_recording=False)
        if layout:
            return EventFiles([path], "", [("", table.rows)], layout, table.written)
    return None


def _read_archive(source: Path, archive: str, progress: ProgressCallback) -> EventFiles | None:
    members = [
        name for name in list_members(source / archive) if name.lower().endswith((".csv", ".txt", ".tsv"))
    ]
    if len(members) < MIN_FILES:
        return None
    wanted = [EventFile(source / archive, member=name) for name in sample_evenly(members, MAX_SAMPLED)]
    contents = [(file.member, stream.read(MAX_BYTES)) for file, stream in open_files(wanted, _raise)]
    parent = PurePosixPath(archive).parent
    inside = [(parent / member).as_posix() for member in members]
    return _read_many(source, inside, archive, contents, progress)


def _raise(file: EventFile, fault: DataError) -> None:
    raise fault


def _read_many(
    source: Path,
    paths: list[str],
    archive: str,
    contents: Sequence[tuple[str, bytes | None]],
    progress: ProgressCallback,
) -> EventFiles | None:
    """Return files with a recording each; None if they have different headers, or no times."""
    frames: list[tuple[str, pd.DataFrame]] = []
    written, header = Written(), None
    end = pattern_of(paths, "record").rpartition("}")[2]
    for i, (path, content) in enumerate(contents):
        try:
            table = sniff_table(source / path, content)
        except DataError:
            continue
        if header is None:
            header, written = list(table.rows.columns), table.written
        if list(table.rows.columns) == header:
            frames.append((name_in_pattern(path, end), table.rows))
        progress("reading tables", i + 1, len(contents))
    if len(frames) < max(2, 0.8 * len(contents)):
        return None
    rows = pd.concat([frame for _, frame in frames], ignore_index=True)
    facts = {
        name: describe_column(name, rows[name], written.decimal) for name in map(str, dict.fromkeys(rows))
    }
    layout = find_layout(facts, one_file_per_recording=True)
    return EventFiles(paths, archive, frames, layout, written) if layout else None


def _write_files(
    draft: Draft, events: EventFiles, kind: str, field: str, codes: Mapping[float, Sequence[str]]
) -> None:
    layout, written = events.layout, events.written
    draft.set("files", "format", kind)
    draft.set("files", "path", events.pattern.replace("{record", f"{{{field}"))
    if events.archive:
        draft.comment(
            "files", f"The files are in {events.archive}, which counts as the folder of its members."
        )
    if layout.record:
        draft.set("files", "record", layout.record)
    draft.set("files", "time", layout.time)
    note = "" if layout.time_unit_is_stated else "nothing states the unit: correct it if it is another"
    draft.set("files", "time-unit", layout.time_unit, note)
    if layout.time_format:
        day_first = (
            "if the first number is the month, exchange %d and %m" if "/" in layout.time_format else ""
        )
        draft.set("files", "time-format", layout.time_format, day_first)
    if layout.variable:
        draft.set("files", "variable", layout.variable)
        draft.set("files", "value", layout.value)
        if layout.unit:
            draft.set("files", "value-unit", layout.unit)
    write_form(draft, "files", written)
    draft.set("files", "missing", [*DEFAULT_MISSING, *(f"{code:g}" for code in codes)])
    for code, names in codes.items():
        sentence = f"{code:g} is far from all other values of ({list_some(names)}): taken as missing."
        draft.comment("files", sentence)


def _write_record_columns(draft: Draft, events: EventFiles) -> None:
    """Write what columns of the events themselves say of the patients, if there is no table."""
    columns = {
        name: describe_column(name, events.frames[0][1][name], events.written.decimal)
        for name in events.frames[0][1].columns
    }
    patient, site = find_patient(columns), find_site(columns)
    draft.comment(
        "table", "There is no table with a row for each recording: each recording counts as a patient."
    )
    for word, name in (("patients", patient), ("hospitals", site)):
        if name and name != events.layout.record:
            draft.comment(
                "table", f"{name} may name {word}: make a table of {events.layout.record} and {name}."
            )


def _write_window(draft: Draft, sample: EventSample, layout: EventLayout) -> None:
    spans, steps = [], []
    for times in sample.times_of_recording.values():
        distinct = np.unique(times[~np.isnan(times)])
        if len(distinct) > 1:
            spans.append(distinct[-1] - (0 if layout.time_unit != "datetime" else distinct[0]))
            steps.append(float(np.median(np.diff(distinct))))
    typical = float(np.median(steps)) if steps else 3600.0
    step = next((step for step in STEPS if step >= 0.99 * typical), STEPS[-1])
    reaching = [
        length
        for length in LENGTHS
        if np.mean(np.array(spans or [0]) >= 0.95 * length - step) >= SPANNING_SHARE
    ]
    length = reaching[-1] if reaching else LENGTHS[0]
    median_span = float(np.median(spans)) if spans else 0.0
    draft.set(
        "window",
        "length",
        format_seconds(length),
        f"recordings last {format_approximately(median_span)} (median)",
    )
    draft.set("window", "take", "first", "or all")
    apart = f"times are {format_approximately(typical)} apart (median)"
    doubt = "" if typical <= MAX_STEPS_APART * step else ": is time-unit wrong?"
    draft.set("window", "grid", format_seconds(step), apart + doubt)
    draft.set("window", "patch", "auto")
