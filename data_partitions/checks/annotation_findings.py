"""Whether the texts of annotations are those of the task."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path

from data_partitions.checks.finding import Finding
from data_partitions.checks.guess.folder import sample_evenly
from data_partitions.description.sections import Description
from data_partitions.errors import DataError
from data_partitions.recordings import open_recording
from data_partitions.sentences import count_noun
from data_partitions.sources.described.annotations import AnnotationReader
from data_partitions.sources.described.label_texts import compare_texts, list_counts
from data_partitions.sources.described.labels import LabelRule, normalise
from data_partitions.sources.described.listing import ListedRecording
from data_partitions.sources.described.sampled import opening_options

MAX_RECORDINGS = 60  # whose annotations are read


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
