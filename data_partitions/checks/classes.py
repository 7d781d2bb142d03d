"""Whether the texts of a label column are the classes of the description, and whether each can be scored."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from difflib import get_close_matches

from data_partitions.checks.finding import Finding, Level, count_noun, list_names
from data_partitions.manifest import SPLITS, Split

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
    for text, count in sorted(unknown.items(), key=lambda item: -item[1]):
        if not text.strip():
            yield Finding(
                "warning", "task", f"{count_noun(count, noun)} without a label: no window of it has one"
            )
            continue
        near = nearest_text(text, known)
        hint = (
            f'did you mean "{near}" of class {known[near]}' if near else "add it to a class or to task.drop"
        )
        yield Finding(
            "error", "task.classes", f'{count_noun(count, noun)} with "{text}", of no class: {hint}'
        )
    for name, texts in classes.items():
        if not any(counts.get(text) for text in texts):
            near = next((match for text in texts if (match := nearest_text(text, unknown))), None)
            hint = f': did you mean "{near}"' if near else ""
            all_texts = ", ".join(f'"{text}"' for text in texts)
            level: Level = "error" if complete else "warning"
            yield Finding(level, f"task.classes.{name}", f"no {noun} has {all_texts}{hint}")
        elif absent := [text for text in texts if not counts.get(text)]:
            yield Finding("fact", f"task.classes.{name}", f"no {noun} has {list_names(absent)}")


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
            yield Finding("warning", f"task {name}", "no patient in training: it cannot be learned here")
        elif train < MIN_TRAIN_PATIENTS:
            yield Finding("warning", f"task {name}", f"only {count_noun(train, 'patient')} in training")
        if test == 0:
            yield Finding("warning", f"task {name}", "no patient in test: it is not scored here")
        elif test < MIN_TEST_PATIENTS:
            sentence = f"only {count_noun(test, 'patient')} in test: its score here is coarse"
            yield Finding("warning", f"task {name}", sentence)
        if val == 0 and train and test:
            yield Finding(
                "warning", f"task {name}", "no patient in validation: no threshold can be chosen here"
            )


def _plain(text: str) -> str:
    return " ".join(text.casefold().split())
