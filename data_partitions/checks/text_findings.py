"""Whether texts of rows and annotations are those of the task, and covariates can be read."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from data_partitions.cell_texts import normalise
from data_partitions.checks.finding import Finding, describe_error
from data_partitions.checks.guess.folder import sample_evenly
from data_partitions.checks.leakage import find_telling_covariates
from data_partitions.description.sections import Description
from data_partitions.errors import DataError
from data_partitions.preparation_log import PreparationLog
from data_partitions.recordings import open_recording
from data_partitions.sentences import count_noun
from data_partitions.sources.described.annotations import AnnotationReader
from data_partitions.sources.described.covariates import CovariateReader
from data_partitions.sources.described.label_texts import compare_texts, count_texts, list_counts
from data_partitions.sources.described.labels import LabelRule
from data_partitions.sources.described.listing import ListedRecording
from data_partitions.sources.described.sampled import opening_options

MAX_RECORDINGS = 60  # whose annotations are read


def check_texts(description: Description, recordings: Sequence[ListedRecording]) -> Iterator[Finding]:
    """Compare the texts of the label column with the classes or the event of the task."""
    rule = LabelRule(description)
    try:
        rule.check_columns(recordings[0].row)
    except DataError as error:
        yield describe_error(error)
        return
    counts = count_texts(rule, recordings)
    if empty := counts[""]:
        yield Finding(
            "warning", "task", f"{count_noun(empty, 'row')} without a label: no window of it has one"
        )
    for fault in compare_texts(rule, counts, "row") if counts else ():
        yield Finding(*fault)


def check_annotations(
    description: Description, source: Path, recordings: Sequence[ListedRecording]
) -> Iterator[Finding]:
    """Compare the texts of the annotations of some recordings with the classes or the event of the task."""
    if description.annotations is None:
        return
    reader = AnnotationReader(description, source)
    chosen = sample_evenly(recordings, MAX_RECORDINGS)
    texts: Counter[str] = Counter()
    faults: list[str] = []
    for listed in chosen:
        try:
            recording = open_recording(listed.file, **opening_options(description.files), record=listed.part)
            texts.update(normalise(annotation.text) for annotation in reader.read(listed, recording))
        except DataError as error:
            faults.append(str(error))
    try:
        for sentence in reader.describe_ids(listed.record for listed in recordings):
            yield Finding("warning", "annotations", sentence.removesuffix("."))
    except DataError as error:
        yield Finding("error", "annotations", str(error))
    complete = len(chosen) == len(recordings)
    of_sample = (
        f"of {count_noun(len(chosen), 'recording')} that were sampled" if not complete else "recordings"
    )
    if faults:
        sentence = f"{len(faults)} {of_sample} have no annotations that can be read: {faults[0]}"
        yield Finding("error" if not texts else "warning", "annotations", sentence)
    if not texts:
        return
    read = count_noun(len(chosen) - len(faults), "recording")
    yield Finding("fact", "annotations", f"in {read}: {list_counts(texts, 12)}")
    rule = LabelRule(description)
    for fault in compare_texts(rule, texts, "annotation", complete) if rule.by_annotations else ():
        yield Finding(*fault)


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
