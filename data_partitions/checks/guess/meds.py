"""The draft of a description of events in the MEDS format."""

from __future__ import annotations

from collections import Counter, defaultdict
from typing import NamedTuple

import numpy as np

from data_partitions.checks.guess.draft import NO_UNIT, Draft, section_name, start_draft
from data_partitions.checks.guess.folder import FolderFiles, pattern_of, sample_evenly
from data_partitions.checks.guess.known_signals import find_known
from data_partitions.checks.guess.roles import safe_name
from data_partitions.preparation_log import ProgressCallback
from data_partitions.sentences import count_noun, list_some

COLUMNS = {"subject_id", "time", "code", "numeric_value"}
STARTS = ("ICU_ADMISSION", "HOSPITAL_ADMISSION", "ADMISSION", "VISIT")
NO_UNITS = ("", "unk", "none", "units", "null")
MAX_SHARDS = 20
MAX_SIGNALS = 30
MIN_SHARE_OF_SUBJECTS = 0.3
MIN_VALUES_OF_SUBJECT = 3  # codes with fewer are no series
NAMES_OF_LABEL_FOLDERS = ("labels", "tasks", "task_labels", "cohort")


class CodeFacts(NamedTuple):
    """Numbers of values and subjects of a code, and its values."""

    subjects: set[int]
    values: list[np.ndarray]


def is_meds(folder: FolderFiles) -> bool:
    """Return whether a folder has MEDS shards."""
    shards = _shards(folder)
    if not shards:
        return False
    import pyarrow.parquet as pq

    return COLUMNS <= set(pq.read_schema(folder.source / shards[0]).names)


def _shards(folder: FolderFiles) -> list[str]:
    return [path for path in folder.of_kind("parquet") if path.startswith("data/") or "/data/" in path]


def guess_meds(folder: FolderFiles, progress: ProgressCallback) -> str:
    """Draft a description by the codes of some shards."""
    shards = _shards(folder)
    sampled = sample_evenly(shards, MAX_SHARDS)
    draft = start_draft(folder.source)
    subjects, codes, events = _read_codes(folder, sampled, progress)
    draft.set("files", "format", "meds")
    top = pattern_of(shards, "shard").rpartition("{")[0].rstrip("*/")
    draft.set("files", "path", f"{top or 'data'}/**/*.parquet")
    sentence = f"{count_noun(len(shards), 'shard')}"
    sentence += f", of which {len(sampled)} were read" if len(sampled) < len(shards) else ""
    draft.comment("files", f"{sentence}: {count_noun(len(subjects), 'subject')}.")
    labels = _label_files(folder)
    _write_window(draft, events, len(subjects), bool(labels))
    _write_signals(draft, folder, codes, len(subjects))
    _write_task(draft, labels)
    _write_split(draft, folder, subjects)
    return draft.to_toml()


def _read_codes(
    folder: FolderFiles, shards: list[str], progress: ProgressCallback
) -> tuple[set[int], dict[str, CodeFacts], dict[str, set[int]]]:
    """Return the subjects, the codes with values, and the subjects of each code without."""
    import pyarrow.parquet as pq

    codes: dict[str, CodeFacts] = defaultdict(lambda: CodeFacts(set(), []))
    events: dict[str, set[int]] = defaultdict(set)
    subjects: set[int] = set()
    for i, path in enumerate(shards):
        table = pq.read_table(
            folder.source / path, columns=["subject_id", "code", "numeric_value"]
        ).to_pandas()
        subjects.update(int(subject) for subject in table["subject_id"].unique())
        numeric = table[table["numeric_value"].notna()]
        for code, rows in numeric.groupby("code", sort=False):
            codes[str(code)].subjects.update(int(subject) for subject in rows["subject_id"].unique())
            codes[str(code)].values.append(rows["numeric_value"].to_numpy(float))
        rest = table[table["numeric_value"].isna()].drop_duplicates(["subject_id", "code"])
        for code, rows in rest.groupby("code", sort=False):
            events[str(code)].update(int(subject) for subject in rows["subject_id"])
        progress("reading shards", i + 1, len(shards))
    return subjects, dict(codes), dict(events)


def _write_window(draft: Draft, events: dict[str, set[int]], subjects: int, has_labels: bool) -> None:
    by_start: dict[str, set[int]] = defaultdict(set)
    for code, of_code in events.items():
        by_start[code.split("//")[0]] |= of_code
    start = next((name for name in STARTS if len(by_start.get(name, ())) > 0.2 * subjects), "")
    code = start if start in events else f"{start}//*"
    if has_labels:
        also = f' To start at the last admission before it, write start = "{code}".' if start else ""
        draft.comment("window", f"A window ends at the prediction time of a label.{also}")
    elif start:
        draft.set("window", "start", code, f"in {count_noun(len(by_start[start]), 'subject')}")
    else:
        frequent = Counter({name: len(of_code) for name, of_code in by_start.items()}).most_common()
        listed = list_some((f"{name} ({count})" for name, count in frequent), 8)
        draft.comment(
            "window",
            f"Nothing says when windows start: give the code as start. There are {listed}.",
        )
    draft.set("window", "length", "48 h" if start and not has_labels else "24 h")
    draft.set("window", "take", "first")
    draft.set("window", "grid", "1 h")
    draft.set("window", "patch", "auto")


def _write_signals(draft: Draft, folder: FolderFiles, codes: dict[str, CodeFacts], subjects: int) -> None:
    counts = {code: sum(map(len, facts.values)) for code, facts in codes.items()}
    series = [
        code
        for code, facts in codes.items()
        if len(facts.subjects) >= MIN_SHARE_OF_SUBJECTS * subjects
        and counts[code] >= MIN_VALUES_OF_SUBJECT * len(facts.subjects)
        and np.ptp(np.concatenate(facts.values)) > 0
    ]
    series.sort(key=lambda code: (_has_no_unit(code), -counts[code]))
    descriptions = _read_descriptions(folder)
    used: set[str] = set()
    section = ""
    for code in series[:MAX_SIGNALS]:
        parts = code.split("//")
        name = safe_name(descriptions.get(code) or code)
        name = name if name not in used else safe_name(f"{name} ({code})")
        used.add(name)
        section = section_name("signals", name)
        low, middle, high = np.percentile(np.concatenate(codes[code].values), (1, 50, 99))
        among = f"in {len(codes[code].subjects)} of {count_noun(subjects, 'subject')}"
        draft.comment(section, f"{low:.4g} to {high:.4g}, median {middle:.4g}; {among}.")
        known = "" if _has_no_unit(code) else parts[-1]
        draft.set(section, "unit", known or NO_UNIT, "" if known else "the code states no unit: give it")
        draft.set(section, "channels", [code], f"{counts[code]} values")
        plausible = next((each for each in find_known(name) if each.unit == known), None)
        if plausible:
            draft.set(
                section, "range", [plausible.low, plausible.high], "by the name: correct it if that is wrong"
            )
    if section and len(series) > MAX_SIGNALS:
        rest = list_some(series[MAX_SIGNALS:], 20)
        draft.comment(section, f"Left out, codes without a unit before others: {rest}.")


def _has_no_unit(code: str) -> bool:
    parts = code.split("//")
    return len(parts) < 3 or parts[-1].lower() in NO_UNITS


def _read_descriptions(folder: FolderFiles) -> dict[str, str]:
    import pyarrow.parquet as pq

    path = next((path for path in folder.of_kind("parquet") if path.endswith("metadata/codes.parquet")), "")
    if not path:
        return {}
    table = pq.read_table(folder.source / path)
    if not {"code", "description"} <= set(table.column_names):
        return {}
    rows = zip(table["code"].to_pylist(), table["description"].to_pylist(), strict=True)
    return {str(code): str(text) for code, text in rows if text}


def _write_split(draft: Draft, folder: FolderFiles, subjects: set[int]) -> None:
    import pyarrow.parquet as pq

    splits = next((path for path in folder.of_kind("parquet") if path.endswith("subject_splits.parquet")), "")
    by_hash = "of the subject: 70 % train, 15 % val, 15 % test"
    if not splits:
        draft.set("split", "by", "hash", by_hash)
        return
    table = pq.read_table(folder.source / splits).to_pydict()
    pairs = zip(table.get("subject_id", ()), table.get("split", ()), strict=False)
    if any(split == "train" for subject, split in pairs if subject in subjects):
        draft.set("split", "by", "file")
        draft.set("split", "file", splits)
    else:
        draft.set("split", "by", "hash", by_hash)
        draft.comment("split", f"{splits} has no training subject among those of the shards.")


def _label_files(folder: FolderFiles) -> list[str]:
    return [
        path
        for path in folder.of_kind("parquet")
        if any(part in NAMES_OF_LABEL_FOLDERS for part in path.split("/")[:-1])
    ]


def _write_task(draft: Draft, labels: list[str]) -> None:
    if labels:
        draft.set("task", "kind", "binary")
        draft.set("task", "file", labels[0], "the first of the files of labels" if len(labels) > 1 else "")
        draft.set("task", "name", safe_name(labels[0].rpartition("/")[2].removesuffix(".parquet")))
        draft.set("task", "event", ["true"])
    else:
        draft.set("task", "kind", "none", "there is no file of labels: name one for a task")
