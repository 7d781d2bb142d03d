"""Whether the texts of rows or annotations are those of the classes, or of the event, of the task."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Literal, NamedTuple

from data_partitions.cell_texts import normalise
from data_partitions.preparation_log import PreparationLog
from data_partitions.sentences import count_noun, find_nearest, list_some, quote_some
from data_partitions.sources.described.faults import description_error
from data_partitions.sources.described.labels import LabelRule
from data_partitions.sources.described.listing import ListedRecording

ADVICE = "add it to a class or to task.drop"


class TextFault(NamedTuple):
    """Something about the texts, and the setting that it is about."""

    level: Literal["error", "warning", "fact"]
    key: str
    sentence: str


def count_texts(rule: LabelRule, recordings: Sequence[ListedRecording]) -> Counter[str]:
    """Count the texts of the label columns; "" for a row without one. Empty if these are no texts."""
    task = rule.task
    if task.kind in ("none", "regression") or rule.by_annotations or task.file:
        return Counter()
    columns = list(task.columns.values()) or [task.column]
    cells = (listed.row.get(column, "") for listed in recordings for column in columns)
    return Counter(normalise(part) for cell in cells for part in rule.split_text(cell) or [""])


def compare_texts(
    rule: LabelRule, counts: Mapping[str, int], noun: str, complete: bool = True
) -> Iterator[TextFault]:
    """Compare texts with those of the task.

    `counts` has the normalised texts of each `noun`, "row" or "annotation"; `complete` says whether of all.
    """
    texts = {text: n for text, n in counts.items() if text and not rule.is_dropped(text)}
    where = f" in {rule.task.column}" if noun == "row" and rule.task.column else ""
    if rule.task.kind == "binary" or rule.task.columns:
        yield from _compare_events(rule, texts, noun, where, complete)
    else:
        yield from _compare_classes(rule, texts, noun, where)


def _compare_classes(
    rule: LabelRule, counts: Mapping[str, int], noun: str, where: str
) -> Iterator[TextFault]:
    classes = {name: [normalise(t) for t in texts or (name,)] for name, texts in rule.task.classes.items()}
    known = {text: name for name, texts in classes.items() for text in texts}
    misspelt: set[str] = set()  # texts of classes that a text of the files is like
    for text, count in sorted(counts.items(), key=lambda item: -item[1]):
        if text in known:
            continue
        near = find_nearest(text, known)
        misspelt.add(near)
        hint = f'is it "{near}" of class {known[near]}? Correct it, or {ADVICE}' if near else ADVICE
        sentence = f'{count_noun(count, noun)} with "{text}"{where}, of no class: {hint}'
        yield TextFault("error", "task.classes", sentence)
    absent_classes = []
    for name, texts in classes.items():
        absent = [text for text in texts if text not in counts and text not in misspelt]
        if len(absent) == len(texts):
            absent_classes.append(f"{name} ({quote_some(absent, 3)})")
        elif absent:
            yield TextFault("fact", f"task.classes.{name}", f"no {noun} has {quote_some(absent)}{where}")
    if absent_classes:
        listed = ", ".join(absent_classes)
        yield TextFault("warning", "task.classes", f"no {noun} has the class {listed}{where}")


def _compare_events(
    rule: LabelRule, counts: Mapping[str, int], noun: str, where: str, complete: bool
) -> Iterator[TextFault]:
    events = [normalise(text) for text in rule.task.event]
    absent = [event for event in events if event not in counts]
    others = [text for text in counts if text not in events]
    hints = {event: find_nearest(event, others) for event in absent}
    if counts and len(absent) == len(events):
        near = next(filter(None, hints.values()), "")
        hint = f'did you mean "{near}"? There are' if near else "there are"
        sentence = f"no {noun} has {quote_some(events)}{where}: {hint} {list_counts(counts)}"
        yield TextFault("error" if near and complete else "warning", "task.event", sentence)
        return
    for event in absent:
        hint = f': did you mean "{hints[event]}"?' if hints[event] else ""
        yield TextFault("warning" if hint else "fact", "task.event", f'no {noun} has "{event}"{where}{hint}')


def require_texts(rule: LabelRule, recordings: Sequence[ListedRecording], log: PreparationLog) -> None:
    """Raise DataError, with the line, for texts of rows that no class has; note classes that are absent."""
    counts = count_texts(rule, recordings)
    if counts:
        _require(rule, list(compare_texts(rule, counts, "row")), log)


def require_annotations(rule: LabelRule, texts: Counter[str], log: PreparationLog) -> None:
    """Do so for annotations; recordings with texts of no class were rejected one by one."""
    counts = {normalise(text): count for text, count in texts.items()}
    if rule.task.kind != "binary":
        counts = {text: count for text, count in counts.items() if rule.class_of(text) is not None}
    if rule.by_annotations and texts:
        _require(rule, list(compare_texts(rule, counts, "annotation")), log)


def _require(rule: LabelRule, faults: list[TextFault], log: PreparationLog) -> None:
    errors = [fault for fault in faults if fault.level == "error"]
    if errors:
        more = f"; condi dataset check lists {len(errors) - 1} more" if len(errors) > 1 else ""
        raise description_error(rule.description, errors[0].key, errors[0].sentence + more)
    for fault in faults:
        if fault.level == "warning":
            log.note(f"{fault.key}: {fault.sentence}.")


def list_counts(counts: Mapping[str, int], most: int = 8) -> str:
    """Write the most frequent texts with their counts: '"AF" (12), "SR" (3) and 4 more'."""
    ordered = sorted(counts.items(), key=lambda item: -item[1])
    return list_some((f'"{text}" ({count})' for text, count in ordered), most)
