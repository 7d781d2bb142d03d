"""The sections of a draft that follow from annotations beside the recordings: annotations and task."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path, PurePosixPath
from statistics import median
from typing import NamedTuple

import pandas as pd

from data_partitions.checks.guess.draft import Draft, write_value
from data_partitions.checks.guess.folder import FolderFiles, name_in_pattern, pattern_of, sample_evenly
from data_partitions.checks.guess.roles import safe_name
from data_partitions.checks.guess.tables import sniff_table
from data_partitions.errors import DataError
from data_partitions.sentences import count_noun, list_some

MAX_SAMPLED = 30  # files of annotations that are read
MAX_CLASSES = 12
EPOCH_SECONDS = 30.0
VENTRICULAR = ("V", "E", "F", "r", "!")  # beats and flutter waves in WFDB annotations
# Names of columns in csv files, in small letters, by the key of the description.
CSV_COLUMNS = {
    "onset": ("onset", "start", "begin", "time", "start_time", "onset_s", "start_s"),
    "duration": ("duration", "length", "duration_s", "dur"),
    "text": ("text", "annotation", "label", "stage", "event", "description", "type", "concept"),
}
SLEEP_STAGES = {
    "wake": ("Sleep stage W", "Wake|0", "W"),
    "N1": ("Sleep stage 1", "Sleep stage N1", "Stage 1 sleep|1", "N1"),
    "N2": ("Sleep stage 2", "Sleep stage N2", "Stage 2 sleep|2", "N2"),
    "N3": ("Sleep stage 3", "Sleep stage 4", "Sleep stage N3", "Stage 3 sleep|3", "Stage 4 sleep|4", "N3"),
    "REM": ("Sleep stage R", "REM sleep|5", "R", "REM"),
}


class Annotations(NamedTuple):
    """Annotations beside the recordings."""

    source: str  # kind, as `from` in the description
    path: str  # pattern of their files, or suffix of a WFDB annotator; "" if they are in the recordings
    texts: Counter[str]  # number of annotations of each text, in the files that were read
    files: int  # number of files that were read
    seconds: float  # median duration of those that have one, else 0
    columns: Mapping[str, str] = {}  # of csv files, by the key of the description


def find_wfdb_annotations(folder: FolderFiles, headers: Sequence[str]) -> Annotations | None:
    """Return the annotations of the annotator with the most files; None if there is none."""
    import wfdb

    stems = {PurePosixPath(path).with_suffix("").as_posix() for path in headers}
    files_of_suffix = {
        suffix: [path for path in paths if PurePosixPath(path).with_suffix("").as_posix() in stems]
        for suffix, paths in folder.others.items()
        if suffix not in (".dat", ".mat", "")
    }
    for suffix, paths in sorted(files_of_suffix.items(), key=lambda item: -len(item[1])):
        texts: Counter[str] = Counter()
        sampled = sample_evenly(paths, MAX_SAMPLED)
        for path in sampled:
            try:
                content = wfdb.rdann(str((folder.source / path).with_suffix("")), suffix[1:])
            except Exception:  # wfdb raises errors of many kinds; the file is of another kind
                break
            notes = [note.strip("\x00 ") for note in content.aux_note]
            texts.update(
                note if symbol == "+" and note else symbol
                for symbol, note in zip(content.symbol, notes, strict=True)
            )
        if texts:
            return Annotations("wfdb", suffix[1:], texts, len(sampled), 0.0)
    return None


def find_edf_annotations(source: Path, files: Sequence[str], path: str) -> Annotations | None:
    """Return the annotations of EDF+ files; `path` is the pattern that goes into the description."""
    import mne

    texts: Counter[str] = Counter()
    durations: list[float] = []
    sampled = sample_evenly(files, MAX_SAMPLED)
    for file in sampled:
        try:
            content = mne.read_annotations(source / file)
        except (ValueError, OSError, RuntimeError, LookupError):  # a recording may have no annotations
            continue
        texts.update(text.strip() for text in content.description)
        durations += [float(duration) for duration in content.duration if duration > 0]
    if not texts:
        return None
    epochs = [duration for duration in durations if duration % EPOCH_SECONDS == 0]
    if len(epochs) > 0.5 * len(durations):  # stages of several epochs
        return Annotations("edf+", path, texts, len(sampled), EPOCH_SECONDS)
    return Annotations("edf+", path, texts, len(sampled), median(durations) if durations else 0.0)


def find_xml_annotations(source: Path, files: Sequence[str], path: str) -> Annotations | None:
    """Return the events of xml files of the National Sleep Research Resource; None of other files."""
    from xml.etree.ElementTree import ParseError

    from defusedxml import DefusedXmlException
    from defusedxml.ElementTree import parse

    texts: Counter[str] = Counter()
    sampled = sample_evenly(files, MAX_SAMPLED)
    for file in sampled:
        try:
            events = list(parse(source / file).iter("ScoredEvent"))
        except (ParseError, DefusedXmlException, OSError):
            continue
        texts.update(event.findtext("EventConcept", "").strip() for event in events)
    epochs = EPOCH_SECONDS if any(text in known for known in SLEEP_STAGES.values() for text in texts) else 0.0
    return Annotations("nsrr-xml", path, texts, len(sampled), epochs) if texts else None


def find_csv_annotations(source: Path, files: Sequence[str], path: str) -> Annotations | None:
    """Return the annotations of csv files that have columns of a start and a text; None of other files."""
    texts: Counter[str] = Counter()
    durations: list[float] = []
    columns: dict[str, str] = {}
    sampled = sample_evenly(files, MAX_SAMPLED)
    for file in sampled:
        try:
            table = sniff_table(source / file)
        except DataError:
            continue
        names = {name.casefold(): name for name in table.columns}
        columns = {
            key: next((names[word] for word in words if word in names), "")
            for key, words in CSV_COLUMNS.items()
        }
        if not (columns["onset"] and columns["text"]) or table.columns[columns["onset"]].kind != "number":
            return None
        texts.update(text for text in table.rows[columns["text"]] if text)
        if columns["duration"]:
            durations += pd.to_numeric(table.rows[columns["duration"]], errors="coerce").dropna().tolist()
    states = [duration for duration in durations if duration > 0]
    stated = {key: name for key, name in columns.items() if name}
    seconds = median(states) if states else 0.0
    return Annotations("csv", path, texts, len(sampled), seconds, stated) if texts else None


def pair_files(signals: Sequence[str], annotations: Sequence[str], field: str) -> tuple[str, str] | None:
    """Return the patterns of recordings and of their annotations, in which `{field}` is what they share.

    None if less than half of the recordings would have exactly one file of annotations.
    """
    if not annotations:
        return None
    signal_pattern, annotation_pattern = pattern_of(signals, field), pattern_of(annotations, field)
    ends = [pattern.rpartition("}")[2] for pattern in (signal_pattern, annotation_pattern)]
    names = [name_in_pattern(path, ends[0]) for path in signals]
    others = Counter(name_in_pattern(path, ends[1]) for path in annotations)
    if sum(others[name] == 1 for name in names) > 0.5 * len(names):
        return signal_pattern, annotation_pattern
    for length in range(min(map(len, [*names, *others])), 2, -1):
        starts = Counter(name[:length] for name in others)
        beginnings = Counter(name[:length] for name in names)
        if sum(starts[name[:length]] == 1 == beginnings[name[:length]] for name in names) > 0.5 * len(names):
            start = f"{{{field}:{length}}}*"
            return (
                signal_pattern.replace(f"{{{field}}}", start),
                annotation_pattern.replace(f"{{{field}}}", start),
            )
    return None


def write_annotations(draft: Draft, annotations: Annotations) -> None:
    """Write `[annotations]`."""
    draft.set("annotations", "from", annotations.source)
    if annotations.path:
        draft.set("annotations", "path", annotations.path)
    for key, column in annotations.columns.items():
        draft.set("annotations", key, column)
    if annotations.columns:
        draft.set("annotations", "time-unit", "s", "nothing states it: correct it if that is wrong")
    draft.comment("annotations", f"Texts {list_texts(annotations)}.")


def list_texts(annotations: Annotations) -> str:
    """Write the commonest texts with their counts."""
    texts = (f"{write_value(text)} {count}" for text, count in annotations.texts.most_common())
    return f"in {count_noun(annotations.files, 'file')} that were read: {list_some(texts, 30)}"


def has_stages(annotations: Annotations) -> bool:
    """Return whether the annotations are states that follow each other, such as sleep stages."""
    return annotations.seconds > 0


def write_task_of_annotations(draft: Draft, annotations: Annotations) -> bool:
    """Write `[task]` by the texts of the annotations; False if they are no classes that are known."""
    texts = annotations.texts
    if has_stages(annotations):
        stages = {name: [text for text in known if text in texts] for name, known in SLEEP_STAGES.items()}
        classes = {name: present for name, present in stages.items() if present}
        if len(classes) < 2:
            classes = {safe_name(text): [text] for text, _ in texts.most_common(MAX_CLASSES)}
        if len(classes) < 2:
            return False
        draft.set("task", "kind", "single-label")
        draft.set("task", "of", "window")
        for name, present in classes.items():
            draft.set("task.classes", name, present)
        known = {text for present in classes.values() for text in present}
        if rest := [text for text in texts if text not in known]:
            draft.set("annotations", "drop", rest, "of no class")
        return True
    if beats := [symbol for symbol in VENTRICULAR[:2] if symbol in texts]:
        draft.set("task", "kind", "binary", "a window in which such a beat begins has the event")
        draft.set("task", "name", "ventricular beat")
        draft.set("task", "event", beats, "premature ventricular contraction, ventricular escape beat")
        draft.set("task", "of", "window")
        rhythms = [text for text in texts if text.startswith("(") and len(text) > 1]
        if rhythms:
            draft.comment(
                "task", f"Rhythms are annotated too, which may be the classes: {', '.join(rhythms)}."
            )
        return True
    return False
