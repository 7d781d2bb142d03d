"""The draft of a description of WFDB and EDF recordings, with tables and annotations beside them."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path, PurePosixPath

from data_partitions.checks.guess.annotation_sections import (
    Annotations,
    find_csv_annotations,
    find_edf_annotations,
    find_wfdb_annotations,
    find_xml_annotations,
    has_stages,
    list_texts,
    pair_files,
    write_annotations,
    write_task_of_annotations,
)
from data_partitions.checks.guess.draft import Draft, start_draft
from data_partitions.checks.guess.folder import (
    FolderFiles,
    group_by_top_folder,
    name_in_pattern,
    pattern_of,
    sample_evenly,
)
from data_partitions.checks.guess.record_table import RecordTable, find_record_table
from data_partitions.checks.guess.roles import find_labels
from data_partitions.checks.guess.table_sections import (
    write_covariates,
    write_split,
    write_table,
    write_task,
)
from data_partitions.checks.guess.tables import ColumnFacts, SniffedTable, sniff_tables
from data_partitions.checks.guess.waveforms import (
    FileHeader,
    prefix_of_patient,
    read_header,
    stem,
    write_signals,
    write_window,
)
from data_partitions.errors import DataError
from data_partitions.preparation_log import ProgressCallback
from data_partitions.sentences import count_noun, list_some

MAX_HEADERS = 500  # headers that are read
NO_PATIENTS = (
    "Each recording counts as a patient. If one patient has several, take the patient from the name, such as "
    'patient = "{record:4}" for its first four characters, or name a table.'
)


def guess_recordings(folder: FolderFiles, kind: str, progress: ProgressCallback) -> str:
    """Draft a description by the headers of some recordings; DataError if these have no signals."""
    source, draft = folder.source, start_draft(folder.source)
    paths, other_folders = _choose_folders(source, folder.of_kind(kind))
    headers = []
    for path in sample_evenly(paths, MAX_HEADERS):
        headers.append(read_header(source / path))
        progress("reading headers", len(headers), min(len(paths), MAX_HEADERS))
    readable = [header for header in headers if header.channels]
    if not readable:
        raise DataError(
            f"none of {count_noun(len(headers), 'recording')} has signals ({headers[0].error}): give the "
            "folder of the recordings"
        )
    annotation_paths = _find_annotation_files(source, paths, headers) if kind == "edf" else []
    paths = [path for path in paths if path not in set(annotation_paths)]
    beside = _files_beside(paths, folder.of_kind("csv"))
    pattern, annotations = _find_annotations(folder, kind, paths, annotation_paths, beside)
    end = pattern.rpartition("}")[2]
    records = [name_in_pattern(path, end) for path in paths]
    tables = sniff_tables(folder, beside if annotations and annotations.source == "csv" else ())
    chosen = find_record_table(tables, records, [stem(path) for path in paths])
    draft.set("files", "format", kind)
    _write_path(draft, pattern, chosen)
    _comment_on_files(draft, source, other_folders, paths, headers)
    columns: Mapping[str, ColumnFacts] = {}
    if chosen and annotations and not chosen.of_paths:
        path = annotations.path.replace("{record", f"{{{chosen.record}")
        annotations = annotations._replace(path=path)
    if chosen:
        columns = write_table(draft, chosen, source, tables).columns
    else:
        _write_patients(draft, records, pattern, tables)
    stages = annotations is not None and has_stages(annotations)
    write_window(draft, readable, annotations.seconds if annotations and stages else 0.0)
    write_signals(draft, readable)
    if annotations and not find_labels(columns) and write_task_of_annotations(draft, annotations):
        write_annotations(draft, annotations)
    else:
        write_task(draft, columns)
        if annotations:
            draft.comment(
                "task",
                f"There are annotations ({annotations.source} {annotations.path}), not used, with texts "
                f"{list_texts(annotations)}.",
            )
    write_split(draft, columns)
    write_covariates(draft, columns)
    return draft.to_toml()


def _find_annotations(
    folder: FolderFiles,
    kind: str,
    paths: Sequence[str],
    annotation_paths: Sequence[str],
    beside: Sequence[str],
) -> tuple[str, Annotations | None]:
    """Return the pattern of the recordings, and their annotations if there are any."""
    pattern = pattern_of(paths, "record")
    if pair := pair_files(paths, beside, "record"):
        if annotations := find_csv_annotations(folder.source, beside, pair[1]):
            return pair[0], annotations
    if kind == "wfdb":
        return pattern, find_wfdb_annotations(folder, paths)
    if pair := pair_files(paths, annotation_paths, "record"):
        return pair[0], find_edf_annotations(folder.source, annotation_paths, pair[1])
    if pair := pair_files(paths, folder.of_kind("xml"), "record"):
        annotations = find_xml_annotations(folder.source, folder.of_kind("xml"), pair[1])
        return pair[0] if annotations else pattern, annotations
    return pattern, find_edf_annotations(folder.source, paths, "")


def _files_beside(paths: Sequence[str], files: Sequence[str]) -> list[str]:
    """Return the files whose names begin like that of a recording."""
    names = {PurePosixPath(path).stem for path in paths}
    lengths = {len(name) for name in names}
    return [file for file in files if any(PurePosixPath(file).name[:n] in names for n in lengths)]


def _find_annotation_files(source: Path, paths: Sequence[str], headers: Sequence[FileHeader]) -> list[str]:
    """Return the EDF files that end like those without signals, if none with signals does."""
    empty = [header.file.relative_to(source).as_posix() for header in headers if not header.channels]
    if not empty:
        return []
    end = pattern_of(empty, "record").rpartition("}")[2]
    if any(header.file.name.endswith(end) for header in headers if header.channels):
        return empty
    return [path for path in paths if path.endswith(end)]


def _write_path(draft: Draft, pattern: str, chosen: RecordTable | None) -> None:
    if chosen and chosen.of_paths:
        suffix = PurePosixPath(pattern).suffix
        draft.set("files", "path", f"{{{chosen.record}}}{suffix}", "by the paths in the table")
    elif chosen:
        draft.set("files", "path", pattern.replace("{record", f"{{{chosen.record}"))
    else:
        draft.set("files", "path", pattern)


def _choose_folders(source: Path, paths: Sequence[str]) -> tuple[list[str], list[str]]:
    """Return the paths in folders of one rate, and the names of the other folders.

    Some data sets have the same recordings at several rates, each in a folder of its own.
    """
    folders = group_by_top_folder(paths)
    alike: dict[tuple[float, ...], list[str]] = defaultdict(list)
    for name, inside in folders.items():
        header = read_header(source / inside[0])
        alike[tuple(sorted({channel.rate for channel in header.channels}))].append(name)
    without = alike.pop((), [])  # annotations, or a file that cannot be read
    if not alike:
        return list(paths), []
    chosen = max(alike.values(), key=lambda names: sum(len(folders[name]) for name in names))
    used = [*chosen, *without]
    return sorted(path for name in used for path in folders[name]), sorted(set(folders) - set(used))


def _comment_on_files(
    draft: Draft,
    source: Path,
    other_folders: Sequence[str],
    paths: Sequence[str],
    headers: Sequence[FileHeader],
) -> None:
    sentence = f"{count_noun(len(paths), 'recording')}"
    if len(headers) < len(paths):
        sentence += f", of which the headers of {len(headers)} were read"
    draft.comment("files", f"{sentence}.")
    if other_folders:
        draft.comment(
            "files", f"Not included, as their sampling rates differ: folders ({list_some(other_folders)})."
        )
    recordings = set(paths)
    broken = [
        header
        for header in headers
        if not header.channels and header.file.relative_to(source).as_posix() in recordings
    ]
    if broken:
        draft.comment("files", f"{count_noun(len(broken), 'header')} cannot be read: {broken[0].error}")


def _write_patients(
    draft: Draft, records: Sequence[str], pattern: str, tables: Sequence[SniffedTable]
) -> None:
    if sign := prefix_of_patient(records):
        draft.set("files", "path", pattern.replace("{record}", f"{{patient}}{sign}{{part}}"))
        draft.set("table", "record", f"{{patient}}{sign}{{part}}")
        draft.set(
            "table", "patient", "{patient}", f'the part of a name before "{sign}": correct it if it is none'
        )
    else:
        draft.comment("table", NO_PATIENTS)
    if tables:
        names = [table.path.name for table in tables]
        draft.comment("table", f"No column of ({list_some(names)}) has the names of the recordings.")
