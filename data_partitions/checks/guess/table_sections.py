"""The sections of a draft that follow from the table of recordings: table, task, split and covariates."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from data_partitions.checks.finding import format_share
from data_partitions.checks.guess.draft import Draft, section_name, write_value
from data_partitions.checks.guess.known_signals import plain_name
from data_partitions.checks.guess.record_table import RecordTable, join_tables
from data_partitions.checks.guess.roles import (
    COVARIATES,
    MAX_CLASSES,
    SEX_WORDS,
    SPLIT_WORDS,
    find_by_words,
    find_event_text,
    find_labels,
    find_patient,
    find_site,
    group_sexes,
    safe_name,
)
from data_partitions.checks.guess.tables import ColumnFacts, SniffedTable, Written
from data_partitions.sentences import count_noun, list_some

MIN_ROWS_OF_CLASS = 5
NO_PATIENTS = (
    "No column seems to name patients: each recording counts as a patient. If one patient has several, name "
    'the column as patient = "...", or patients are in training and in test.'
)
END_WORDS = ("end", "endtime", "dischtime", "discharged", "dischargetime", "outtime", "icuouttime")
START_WORDS = ("start", "starttime", "admittime", "admitted", "admissiontime", "intime", "icuintime")


def write_table(
    draft: Draft, chosen: RecordTable, source: Path, others: Sequence[SniffedTable]
) -> RecordTable:
    """Write `[table]`, and join other tables; return the table with their columns."""
    table = chosen.table
    draft.set("table", "path", table.path.relative_to(source).as_posix())
    note = f"it has {format_share(chosen.share)} of the recordings" if chosen.share < 1 else ""
    record = chosen.record
    if chosen.of_paths:
        unique = (name for name, facts in table.columns.items() if facts.distinct == len(table.rows))
        record = next(unique, chosen.record)
    draft.set("table", "record", record, note)
    joins = Draft()
    joined = join_tables(joins, chosen, source, others)
    _write_patient_and_site(draft, joined.columns, record)
    _write_times(draft, joined.columns)
    write_form(draft, "table", table.written)
    draft.add(joins)
    return joined


def _write_patient_and_site(draft: Draft, columns: Mapping[str, ColumnFacts], record: str) -> None:
    patient = find_patient(columns)
    if patient and patient != record:
        draft.set("table", "patient", patient, count_noun(columns[patient].distinct, "patient"))
    else:
        draft.comment("table", NO_PATIENTS)
    if site := find_site(columns):
        write_site(draft, columns[site])


def write_site(draft: Draft, column: ColumnFacts) -> None:
    """Write which column has the hospital."""
    sites = count_noun(column.distinct, "site")
    draft.set("table", "site", column.name, f"{sites}; for a single hospital remove this")


def write_form(draft: Draft, section: str, written: Written) -> None:
    """Write how a text file is written, where that is not usual."""
    for key, value, default in zip(Written._fields, written, Written(), strict=True):
        if value != default:
            draft.set(section, key, value)


def _write_times(draft: Draft, columns: Mapping[str, ColumnFacts]) -> None:
    for key, words in (("start", START_WORDS), ("end", END_WORDS)):
        name = find_by_words(columns, words)
        if name and columns[name].kind == "datetime":
            draft.set("table", key, name)
            if columns[name].time_format:
                draft.set("table", "time-format", columns[name].time_format)


def write_task(draft: Draft, columns: Mapping[str, ColumnFacts]) -> None:
    """Write `[task]` by the column that is most like a label."""
    labels = find_labels(columns)
    if not labels:
        draft.set("task", "kind", "none", "no column seems to be the label: name it for a task")
        return
    facts = columns[labels[0]]
    if facts.kind == "number" and facts.distinct > MAX_CLASSES:
        draft.set("task", "kind", "regression", f"{facts.low:g} to {facts.high:g}")
        draft.set("task", "column", facts.name)
        draft.set("task", "name", safe_name(facts.name))
    elif facts.distinct == 2:
        _write_binary(draft, facts)
    elif facts.distinct <= MAX_CLASSES:
        _write_classes(draft, facts)
    else:
        draft.set("task", "kind", "none")
        draft.comment("task", f"{facts.name} may be the label, but it has {facts.distinct} different texts.")
    if facts.distinct <= MAX_CLASSES or facts.kind == "number":
        draft.set("task", "of", "recording")
    if len(labels) > 1:
        draft.comment("task", f"Other columns that may be the label: {list_some(labels[1:], 5)}.")


def _write_binary(draft: Draft, facts: ColumnFacts) -> None:
    counts = ", ".join(f'"{text}" in {count}' for text, count in facts.texts.items())
    event = find_event_text(facts.texts)
    draft.set("task", "kind", "binary")
    draft.set("task", "column", facts.name, f"{counts} rows")
    draft.set("task", "name", safe_name(facts.name))
    guessed = "" if event else "which of the two texts is the event is not known: the rarer is taken"
    draft.set("task", "event", [event or min(facts.texts, key=lambda text: facts.texts[text])], guessed)


def _write_classes(draft: Draft, facts: ColumnFacts) -> None:
    draft.set("task", "kind", "single-label", 'or "ordinal" if the classes have an order')
    draft.set("task", "column", facts.name)
    rare = [text for text, count in facts.texts.items() if count < MIN_ROWS_OF_CLASS]
    frequent = [text for text in facts.texts if text not in rare]
    if len(frequent) < 2:
        frequent, rare = list(facts.texts), []
    for text in frequent:
        comment = count_noun(facts.texts[text], "row")
        draft.set("task.classes", safe_name(text), [text], comment)
    if rare:
        counts = ", ".join(f"{write_value(text)} ({facts.texts[text]})" for text in rare)
        draft.set("task", "drop", rare, "too rare for a class; add them to one if they belong there")
        draft.comment("task", f"Rows of each text that is dropped: {counts}.")


def write_split(draft: Draft, columns: Mapping[str, ColumnFacts]) -> None:
    """Write `[split]`: by hash, or by a column of folds."""
    name = find_by_words(columns, SPLIT_WORDS)
    facts = columns.get(name)
    if facts is None or not 2 < facts.distinct <= 20:
        draft.set("split", "by", "hash", "of the patient: 70 % train, 15 % val, 15 % test")
        return
    texts = sorted(facts.texts, key=lambda text: (len(text), text))
    words = {plain_name(text): text for text in texts}
    val = next(
        (words[word] for word in ("val", "valid", "validation", "dev", "tuning") if word in words), texts[-2]
    )
    test = next((words[word] for word in ("test", "heldout") if word in words), texts[-1])
    draft.set("split", "by", "column")
    draft.set("split", "column", name, f"it has {list_some(texts, 12)}")
    draft.set("split", "val", [val])
    draft.set("split", "test", [test])


def write_covariates(draft: Draft, columns: Mapping[str, ColumnFacts]) -> None:
    """Write `[covariates]`: age, sex, weight and height."""
    for name, (words, unit, limits, groups) in COVARIATES.items():
        column = find_by_words(columns, words)
        if not column or columns[column].kind != "number":
            continue
        section = section_name("covariates", name)
        draft.set(section, "column", column, f"{columns[column].low:g} to {columns[column].high:g}")
        draft.set(section, "unit", unit)
        draft.set(section, "range", list(limits))
        if groups:
            draft.set(section, "groups", list(groups))
    column = find_by_words(columns, SEX_WORDS)
    if column and 1 < columns[column].distinct <= 6:
        section = section_name("covariates", "sex")
        draft.set(section, "column", column)
        categories = group_sexes(columns[column].texts)
        unknown = [text for text in categories if text not in ("female", "male")]
        note = f"what {', '.join(unknown)} stands for is not known: rename it" if unknown else ""
        draft.set(section, "categories", {safe_name(name): texts for name, texts in categories.items()}, note)
