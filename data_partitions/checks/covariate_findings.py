"""Whether covariates can be read, and whether they tell the outcome."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from data_partitions.checks.finding import Finding, describe_error
from data_partitions.checks.leakage import find_telling_covariates
from data_partitions.description.sections import Description
from data_partitions.errors import DataError
from data_partitions.preparation_log import PreparationLog
from data_partitions.sources.described.covariates import CovariateReader
from data_partitions.sources.described.labels import LabelRule
from data_partitions.sources.described.listing import ListedRecording


def check_covariates(description: Description, recordings: Sequence[ListedRecording]) -> Iterator[Finding]:
    """Find covariates without a column or without a value, and those that alone tell a binary outcome."""
    reader = CovariateReader(description)
    try:
        reader.check_columns(recordings[0].row)
    except DataError as error:
        yield describe_error(error)
        return
    cells = [reader.read(listed.row) for listed in recordings]
    values = {}
    for name, section in description.covariates.items():
        texts = [cell[f"covariate {name}"] for cell in cells]
        if not any(texts):
            yield Finding("warning", f"covariates.{name}", "no recording has a value that can be used")
        position = {category: i for i, category in enumerate(section.categories)}
        values[name] = np.array(
            [np.nan if not text else position[text] if position else float(text) for text in texts]
        )
    log = PreparationLog()
    reader.add_notes(log)
    for note in log.notes:
        yield Finding("warning", "covariates", note.rstrip("."))
    events = find_events(description, recordings)
    if events is not None:
        yield from find_telling_covariates(values, events)


def find_events(description: Description, recordings: Sequence[ListedRecording]) -> np.ndarray | None:
    """Return which recordings have the event of a binary task by the table; None if there is no such task."""
    rule, task = LabelRule(description), description.task
    if task.kind != "binary" or not task.column:
        return None
    return np.array([rule.is_event(listed.row.get(task.column, "")) for listed in recordings], bool)
