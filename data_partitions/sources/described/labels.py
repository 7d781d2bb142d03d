"""The labels of a recording by the texts of its row, as `[task]` says."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence

import numpy as np

from data_partitions.cell_texts import normalise
from data_partitions.description.sections import Description
from data_partitions.errors import DataError
from data_partitions.sentences import find_nearest, quote_some, suggest
from data_partitions.sources.described.annotations import Annotation
from data_partitions.sources.described.faults import description_error, require_column
from data_partitions.sources.described.table import parse_number

# Columns of windows, next to which those of the labels are.
RESERVED_NAMES = (
    *("record_id", "recording_id", "patient_id", "split", "site"),
    *("file", "part", "start", "modalities"),
)
LABEL_COLUMN = "label"  # of the rows of a label file
DEFAULT_NAME = "event"  # of the label of a binary task or a regression


class LabelRule:
    """Turns texts into the labels of a window: float32 `(label,)`, NaN where there is none.

    DataError when the task has no classes although its kind has some, or a text stands for two classes.
    """

    def __init__(self, description: Description) -> None:
        self.description = description
        self.task = task = description.task
        self.names: tuple[str, ...] = ()
        if task.kind in ("binary", "regression"):
            self.names = (task.name or DEFAULT_NAME,)
        elif task.kind == "multi-label" and task.columns:
            self.names = tuple(task.columns)
        elif task.kind != "none":
            self.names = tuple(task.classes)
            if len(self.names) < (1 if task.kind == "multi-label" else 2):
                raise description_error(
                    description, "task.classes", f"a {task.kind} task needs its classes, with their texts"
                )
        if reserved := [name for name in self.names if name in RESERVED_NAMES]:
            raise description_error(
                description, "task", f'a label cannot be called "{reserved[0]}": choose another name'
            )
        if task.of == "patient" and self.by_annotations and task.kind not in ("binary", "multi-label"):
            raise description_error(
                description,
                "task.of",
                f'by annotations, a {task.kind} label is of the "window" or the "recording"',
            )
        self._class_of: dict[str, int] = {}
        for position, (name, texts) in enumerate(task.classes.items()):
            for text in map(normalise, texts or (name,)):
                if self._class_of.setdefault(text, position) != position:
                    raise description_error(
                        description, "task.classes", f'"{text}" stands for two classes: keep it in one'
                    )
        self._events = set(map(normalise, task.event))
        self._dropped = set(map(normalise, task.drop))

    @property
    def by_annotations(self) -> bool:
        """Whether annotations have the labels."""
        task = self.task
        has_column = task.column or task.columns or task.file or task.until
        return task.kind != "none" and not has_column and self.description.annotations is not None

    def no_label(self) -> np.ndarray:
        """Return the labels of a window of which nothing is known."""
        return np.full(len(self.names), np.nan, np.float32)

    def is_dropped(self, text: str) -> bool:
        """Return whether what has this text is excluded."""
        return normalise(text) in self._dropped

    def is_event(self, text: str) -> bool:
        """Return whether a text stands for the event."""
        return normalise(text) in self._events

    def class_of(self, text: str) -> int | None:
        """Return the position of the class that a text stands for; None if it stands for none."""
        return self._class_of.get(normalise(text))

    def position_of(self, name: str) -> int:
        """Return the position of a class; DataError if there is none of that name."""
        if name not in self.names:
            raise description_error(
                self.description,
                "window.keep",
                f'there is no class "{name}"{suggest(name, self.names)} '
                f"(the classes are {', '.join(self.names)})",
            )
        return self.names.index(name)

    def label_text(self, text: str) -> np.ndarray:
        """Return the labels by one text; no label where it is empty or not understood."""
        labels = self.no_label()
        if self.task.kind == "multi-label":
            labels[:] = 0
            for part in self.split_text(text):
                if (position := self.class_of(part)) is not None:
                    labels[position] = 1
        elif not text:
            pass
        elif self.task.kind == "binary":
            labels[0] = self.is_event(text)
        elif self.task.kind == "regression":
            labels[0] = parse_number(text, self.description.table.decimal)
        elif (position := self.class_of(text)) is not None:
            labels[:] = np.arange(len(self.names)) == position
        return labels

    def label_row(self, row: Mapping[str, str]) -> np.ndarray | None:
        """Return the labels by the row of a recording, None if excluded; DataError for what is no number."""
        if self.task.kind == "none":
            return self.no_label()
        column = LABEL_COLUMN if self.task.file else self.task.column
        texts = [row.get(column, "") for column in self.task.columns.values() or [column]]
        if any(self.is_dropped(part) for text in texts for part in self.split_text(text)):
            return None
        if self.task.columns:
            events = [self.is_event(text) for text in texts]
            return np.array(events, np.float32) if any(texts) else self.no_label()
        try:
            labels = self.label_text(texts[0])
        except ValueError:
            labels = np.array([np.inf], np.float32)
        if np.isinf(labels).any():
            raise DataError(f'{self.task.column} is "{texts[0]}", where a number was expected')
        return labels

    def split_text(self, text: str) -> list[str]:
        """Return the texts of the labels in a cell."""
        separator = self.task.separator
        return [part.strip() for part in (text.split(separator) if separator else [text]) if part.strip()]

    def label_annotations(self, annotations: Sequence[Annotation]) -> np.ndarray:
        """Return the labels by the annotation of each window: `(window, label)`; DataError for no class."""
        if self.task.kind not in ("none", "binary"):
            texts = dict.fromkeys(annotation.text for annotation in annotations)
            unknown = [t for t in texts if self.class_of(t) is None and not self.is_dropped(t)]
            if unknown:
                raise self.unknown_text_error(unknown)
        return np.stack([self.label_text(annotation.text) for annotation in annotations])

    def check_columns(self, columns: Iterable[str]) -> None:
        """Raise DataError unless the table has the columns of the task."""
        if self.task.kind == "none" or self.by_annotations or self.task.file or self.task.until:
            return
        columns, key = list(columns), "task.columns" if self.task.columns else "task.column"
        for column in self.task.columns.values() or [self.task.column]:
            require_column(self.description, key, column, columns)

    def unknown_text_error(self, unknown: Sequence[str]) -> DataError:
        """Return the error for texts of annotations that no class has."""
        near = find_nearest(unknown[0], self._class_of)
        advice = f'correct it to "{near}", or add it' if near else "add it"
        return description_error(
            self.description,
            "task.classes",
            f"annotations have {quote_some(unknown)}, which no class has: {advice} to a class or to "
            "task.drop",
        )


def has_label(labels: np.ndarray) -> bool:
    """Return whether a window has labels."""
    return bool(len(labels)) and not math.isnan(labels[0])
