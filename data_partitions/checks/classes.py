"""Whether the texts of a label column are the classes of the description, and whether each can be scored."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from difflib import get_close_matches

from data_partitions.checks.finding import Finding, Level, count_noun
from data_partitions.manifest import SPLITS, Split
from data_partitions.sources.described.faults import quote_some

MIN_TEST_PATIENTS = 10  # with fewer, a score of a class changes by more than 0.1 with one patient
MIN_TRAIN_PATIENTS = 10


def compare_texts(
    counts: Mapping[str, int],
    classes: Mapping[str, Sequence[str]],
    drop: Sequence[str],
    noun: str,
    complete: bool = True,
) -> Iterator[Finding]:
    """Compare the texts of a column with those of the classes.

    Parameters
    ----------
    counts
        Number of rows or annotations with each text.
    classes
        For each class the texts that stand for it.
    drop
        Texts that are left out on purpose.
    noun
        What is counted: "row" or "annotation".
    complete
        Whether all rows were read, so that a class without one is an error.
    """
    known = {text: name for name, texts in classes.items() for text in texts}
    unknown = {text: count for text, count in counts.items() if text not in known and text not in drop}
    misspelt: set[str | None] = set()  # texts of classes that a text of the files is like
    for text, count in sorted(unknown.items(), key=lambda item: -item[1]):
        if not text.strip():
            yield Finding(
                "warning", "task", f"{count_noun(count, noun)} without a label: no window of it has one"
            )
            continue
        near = nearest_text(text, known)
        misspelt.add(near)
        hint = (
            f'is it "{near}" of class {known[near]}? Correct it, or add it to a class or to task.drop'
            if near
            else "add it to a class or to task.drop"
        )
        yield Finding(
            "error", "task.classes", f'{count_noun(count, noun)} with "{text}", of no class: {hint}'
        )
    for name, texts in classes.items():
        absent = [text for text in texts if not counts.get(text) and text not in misspelt]
        if len(absent) == len(texts):
            level: Level = "error" if complete else "warning"
            yield Finding(level, f"task.classes.{name}", f"no {noun} has {quote_some(texts)}")
        elif absent:
            yield Finding("fact", f"task.classes.{name}", f"no {noun} has {quote_some(absent)}")


def compare_events(
    counts: Mapping[str, int], events: Sequence[str], noun: str, complete: bool = True, column: str = ""
) -> Iterator[Finding]:
    """Compare the texts of a column with those of the event; other parameters as in `compare_texts`."""
    where = f" in {column}" if column else ""
    absent = [event for event in events if not counts.get(event)]
    others = [text for text in counts if text not in events]
    hints = {event: nearest_text(event, others) for event in absent}
    if len(absent) == len(events):
        listed = list_counts(counts)
        near = next(filter(None, hints.values()), None)
        hint = f'did you mean "{near}"? There are {listed}' if near else f"there are {listed}"
        level: Level = "error" if complete else "warning"
        yield Finding(level, "task.event", f"no {noun} has {quote_some(events)}{where}: {hint}")
        return
    for event in absent:
        hint = f': did you mean "{hints[event]}"?' if hints[event] else ""
        yield Finding("warning" if hint else "fact", "task.event", f'no {noun} has "{event}"{where}{hint}')


def list_counts(counts: Mapping[str, int], most: int = 8) -> str:
    """Write the most frequent texts with their counts: '"AF" (12), "SR" (3) and 4 more'."""
    ordered = sorted(counts.items(), key=lambda item: -item[1])
    listed = ", ".join(f'"{text}" ({count})' for text, count in ordered[:most])
    return f"{listed} and {len(ordered) - most} more" if len(ordered) > most else listed


def nearest_text(text: str, choices: Mapping[str, object] | Sequence[str]) -> str | None:
    """Return the choice that is most like a text, whatever its case and spaces; None if none is like it."""
    by_form = {_plain(choice): choice for choice in choices}
    if _plain(text) in by_form:
        return by_form[_plain(text)]
    near = get_close_matches(_plain(text), list(by_form), n=1, cutoff=0.6)
    return by_form[near[0]] if near else None


def find_small_classes(patients: Mapping[str, Mapping[Split, int]]) -> Iterator[Finding]:
    """Name the classes with too few patients in training or test.

    Parameters
    ----------
    patients
        For each class the number of patients with it in each split.
    """
    for name, by_split in patients.items():
        train, val, test = (by_split.get(split, 0) for split in SPLITS)
        if train == 0:
            yield Finding(
                "warning", f"task {name}", "no patient with it in training: it cannot be learned here"
            )
        elif train < MIN_TRAIN_PATIENTS:
            yield Finding(
                "warning", f"task {name}", f"only {count_noun(train, 'patient')} with it in training"
            )
        if test == 0:
            yield Finding("warning", f"task {name}", "no patient with it in test: it is not scored here")
        elif test < MIN_TEST_PATIENTS:
            sentence = f"only {count_noun(test, 'patient')} with it in test: its score here is coarse"
            yield Finding("warning", f"task {name}", sentence)
        if val == 0 and train and test:
            yield Finding(
                "warning", f"task {name}", "no patient with it in validation: no threshold can be chosen here"
            )


def _plain(text: str) -> str:
    return " ".join(text.casefold().split())
