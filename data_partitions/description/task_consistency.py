"""The rules between settings of labels, splits and covariates."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from itertools import pairwise

from data_partitions.description.complaints import Complaint
from data_partitions.description.durations import SECONDS
from data_partitions.description.sections import Description
from data_partitions.sentences import join_words

# The kinds of tasks in which a key of [task] has an effect.
KINDS_OF_KEY = {
    "columns": ("multi-label",),
    "separator": ("multi-label",),
    "name": ("binary", "regression"),
    "unit": ("regression",),
    "range": ("regression",),
    "until": ("regression",),
    "classes": ("single-label", "multi-label", "ordinal"),
    "event": ("binary", "multi-label"),
}


def find_task_conflicts(description: Description) -> Iterator[Complaint]:
    """Yield what does not go together in the sections of the task, the split and the covariates."""
    yield from _check_task(description)
    yield from _check_split(description)
    yield from _check_covariates(description)


def _check_task(description: Description) -> Iterator[Complaint]:
    task, kind = description.task, description.task.kind
    written = task.model_dump(by_alias=True, exclude_defaults=True)
    for key in written:
        kinds = KINDS_OF_KEY.get(key, () if kind == "none" and key != "kind" else (kind,))
        if kind not in kinds:
            use = f"only with kind {join_words(kinds)}" if kinds else "since there is no task"
            yield Complaint(f"task.{key}", f'`{key}` has no effect with kind = "{kind}", {use}: remove it')
    if kind == "none":
        return
    sources = {"column": task.column, "columns": task.columns, "file": task.file, "until": task.until}
    stated = [f"`{name}`" for name, value in sources.items() if value]
    if len(stated) > 1:
        yield Complaint("task", f"labels have one source: remove {' or '.join(stated)}")
    if not stated:
        if description.annotations is None:
            yield Complaint(
                "task", "nothing says where the labels are: add column = ... or a section [annotations]"
            )
        elif kind == "regression":
            yield Complaint(
                "task.kind", "annotations have no numbers: add column = ..., or choose another kind"
            )
        elif task.of != "window":
            yield Complaint("task", 'annotations give each window its label: add of = "window" to [task]')
    if task.file and description.files.format != "meds":
        yield Complaint("task.file", "label files are for MEDS: write column = ... of the table")
    if kind in ("single-label", "ordinal", "multi-label") and not task.columns:
        yield from _check_classes(task.classes, kind)
    if (kind == "binary" or task.columns) and not task.event:
        yield Complaint("task.event", "no text stands for the event: add one")
    if task.until:
        yield from _check_until(description)
    if task.columns and task.classes:
        yield Complaint("task.classes", "each label has a column: remove `classes` or `columns`")
    if task.separator and not task.column:
        yield Complaint("task.separator", "`separator` is of the texts in `column`: add column = ...")


def _check_until(description: Description) -> Iterator[Complaint]:
    if not description.table.end:
        yield Complaint("task.until", "`until` needs the end of the stay: add end = ... to [table]")
    if description.task.unit not in SECONDS:
        yield Complaint("task.unit", f"`until` gives a time: write a unit of {join_words(SECONDS)}")


def _check_classes(classes: Mapping[str, tuple[str, ...]], kind: str) -> Iterator[Complaint]:
    if len(classes) < (1 if kind == "multi-label" else 2):
        example = '{ sinus = ["SR"], afib = ["AF"] }'
        yield Complaint("task", f'kind = "{kind}" needs classes: add classes = {example} to [task]')
    if kind != "multi-label":
        yield from _check_texts("task.classes", classes, "class")


def _check_texts(key: str, texts: Mapping[str, Iterable[str]], word: str) -> Iterator[Complaint]:
    """Refuse a text that stands for two classes, and a class without texts."""
    class_of: dict[str, str] = {}
    for name, entries in texts.items():
        if not tuple(entries):
            yield Complaint(
                f"{key}.{name}", f"no text stands for {word} {name}: add one, or remove the {word}"
            )
        for entry in entries:
            if class_of.setdefault(entry, name) != name:
                both = f"{class_of[entry]} and {name}"
                yield Complaint(f"{key}.{name}", f'"{entry}" stands for {both}: remove it from one of them')


def _check_split(description: Description) -> Iterator[Complaint]:
    split = description.split
    if split.by == "column":
        if not split.column:
            yield Complaint("split.by", 'by = "column" needs the column: add column = ... to [split]')
        if not (split.val and split.test):
            yield Complaint("split.by", 'by = "column" needs the texts: add val = [...] and test = [...]')
        if both := sorted(set(split.val) & set(split.test)):
            yield Complaint("split.test", f'"{both[0]}" stands for val and test: remove it from one of them')
    if split.by == "file":
        if not split.file:
            yield Complaint("split.by", 'by = "file" needs the file: add file = ... to [split]')
        if description.files.format != "meds":
            yield Complaint("split.by", 'by = "file" is for MEDS: choose "hash" or "column"')
    if split.by == "hash" and not split.shares["train"]:
        yield Complaint("split.shares", "expected a share of training patients above 0")
    written = split.model_dump(by_alias=True, exclude_defaults=True)
    owner = {"shares": "hash", "within": "hash", "file": "file"}
    owner |= {"column": "column", "val": "column", "test": "column"}
    for key in written:
        if owner.get(key, split.by) != split.by:
            yield Complaint(f"split.{key}", f'`{key}` has no effect with by = "{split.by}": remove it')


def _check_covariates(description: Description) -> Iterator[Complaint]:
    for name, covariate in description.covariates.items():
        key = f"covariates.{name}"
        numeric = {"unit": covariate.unit, "groups": covariate.groups, "range": covariate.range}
        if covariate.categories:
            yield from _check_texts(f"{key}.categories", covariate.categories, "category")
            for word in (word for word, value in numeric.items() if value):
                yield Complaint(
                    f"{key}.{word}", f"`{word}` is of a number, but {name} has categories: remove one"
                )
        if any(a >= b for a, b in pairwise(covariate.groups)):
            yield Complaint(f"{key}.groups", "expected bounds in ascending order, such as [40, 65, 80]")
