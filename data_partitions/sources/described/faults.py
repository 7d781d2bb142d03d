"""The error of a description that does not fit the files, which names the line."""

from __future__ import annotations

from collections.abc import Iterable

from data_partitions.description.sections import Description
from data_partitions.errors import DataError
from data_partitions.sentences import list_some, suggest

MAX_COLUMNS = 20  # in the message on one that is missing


class DescriptionError(DataError):
    """The setting `key` of a description does not fit the files; `sentence` has neither key nor line."""

    def __init__(self, place: str, key: str, sentence: str) -> None:
        super().__init__(f"{place}: {key}: {sentence}")
        self.key = key
        self.sentence = sentence


def description_error(description: Description, key: str, sentence: str) -> DescriptionError:
    """Return the error that names the setting `key`, such as "task.classes", and its line in the file."""
    return DescriptionError(description.place(key) or "the description", key, sentence)


def require_column(description: Description, key: str, column: str, columns: Iterable[str]) -> None:
    """Raise DataError, with the line of the setting `key`, unless a column is one of those of the table."""
    columns = list(columns)
    if column not in columns:
        raise description_error(
            description,
            key,
            f'the table has no column "{column}"{suggest(column, columns)} '
            f"(it has {list_some(columns, MAX_COLUMNS)})",
        )
