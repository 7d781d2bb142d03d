"""The error of a description that does not fit the files, which names the line."""

from __future__ import annotations

from data_partitions.description.sections import Description
from data_partitions.errors import DataError


class DescriptionError(DataError):
    """The setting `key` of a description does not fit the files; `sentence` has neither key nor line."""

    def __init__(self, place: str, key: str, sentence: str) -> None:
        super().__init__(f"{place}: {key}: {sentence}")
        self.key = key
        self.sentence = sentence


def description_error(description: Description, key: str, sentence: str) -> DescriptionError:
    """Return the error that names the setting `key`, such as "task.classes", and its line in the file."""
    return DescriptionError(description.place(key) or "the description", key, sentence)
