"""Windows of recordings with samples at a rate: WFDB, EDF, arrays."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from itertools import groupby, pairwise
from operator import itemgetter
from pathlib import Path

import numpy as np
import pandas as pd

from data_partitions.description.sections import Description
from data_partitions.errors import DataError
from data_partitions.preparation_log import PreparationLog
from data_partitions.recordings import open_recording
from data_partitions.recordings.recording import Recording
from data_partitions.signals.match import Match
from data_partitions.signals.signal_map import SignalMap
from data_partitions.signals.signal_spec import specs_of_description
from data_partitions.sources.described.annotated_labels import label_recording, label_windows
from data_partitions.sources.described.annotations import Annotation, AnnotationReader
from data_partitions.sources.described.label_texts import require_annotations
from data_partitions.sources.described.labels import LabelRule
from data_partitions.sources.described.listing import ListedRecording, Listing, list_recordings
from data_partitions.sources.described.parts import opening_options
from data_partitions.sources.described.recording_times import ends_early, find_time
from data_partitions.sources.described.recording_windows import RecordingWindows
from data_partitions.sources.described.schema import plan_windows
from data_partitions.sources.described.windows import (
    cut_annotations,
    cut_recording,
    near_others,
    number_windows,
)

BLOCK_BYTES = 2**24  # of one signal, read at a time


class SampledRecordings:
    """Cuts and reads the recordings of a description whose files have samples at a rate."""

    def __init__(self, description: Description, source: Path, rule: LabelRule) -> None:
        self.description = description
        self.source = source
        self.rule = rule
        self.plan = plan_windows(description)
        self.options = opening_options(description.files)
        specs = specs_of_description(description)
        self.signal_map = SignalMap(specs, allow_other_rates=True)
        self.annotations = (
            AnnotationReader(description, source) if description.annotations is not None else None
        )
        self._names: list[str] = []  # of all recordings

    def list(self, log: PreparationLog) -> Listing:
        """List the recordings; see `WindowReader`."""
        listing = list_recordings(self.description, self.source)
        self._names = [listed.record for listed in listing.recordings]
        return listing

    def open(self, file: Path, part: str = "") -> tuple[Recording, Match]:
        """Open a file, or a recording in it, and find its channels; DataError when it cannot be used."""
        recording = open_recording(file, **self.options, record=part)
        return recording, self.signal_map.match(recording)

    def cut(
        self, recordings: Sequence[ListedRecording], log: PreparationLog
    ) -> Iterator[tuple[ListedRecording, RecordingWindows]]:
        """Yield the windows of each recording; see `WindowReader`."""
        texts: Counter[str] = Counter()
        for done, listed in enumerate(recordings, start=1):
            try:
                yield listed, self._cut(listed, texts, log)
            except DataError as error:
                named = listed.record in str(error)
                log.reject(error if named else DataError(f"recording {listed.record}: {error}"))
            log.progress("reading headers", done, len(recordings))
        if self.annotations is not None:
            for sentence in self.annotations.describe_ids(self._names):
                log.note(sentence)
        require_annotations(self.rule, texts, log)

    def _cut(self, listed: ListedRecording, texts: Counter[str], log: PreparationLog) -> RecordingWindows:
        """Return the windows of a recording, and count the texts of its annotations."""
        recording, match = self.open(listed.file, listed.part)
        for note in (*recording.notes, *match.notes):
            log.count("{} recordings: " + note)
        seconds = match.seconds
        window, annotations = self.description.window, []
        if self.annotations is not None:
            annotations = self.annotations.read(listed, recording)
            texts.update(annotation.text for annotation in annotations)
        origin = find_time(self.description, "window.start", listed, recording) if window.start else 0.0
        if ends_early(self.description, listed, recording, seconds - origin, log):
            return RecordingWindows(
                np.zeros(0), np.zeros(0, int), np.zeros((0, len(self.rule.names))), (), None
            )
        if window.align == "annotations":
            _require_apart(listed, annotations)
            cut = cut_annotations(window, annotations, seconds)
        else:
            cut = cut_recording(window, listed.record, seconds, origin)
        if not len(cut.starts):
            log.count("{} recordings have no complete window.")
        elif cut.seconds_cut_off > 0.5:
            log.count(
                "{} s at the end of recordings are left out, as windows are complete.", cut.seconds_cut_off
            )
        labels = self._label(listed, annotations, cut.annotations, cut.starts, seconds)
        chosen = self._choose(cut.starts, cut.annotations, labels, log)
        numbers = number_windows(window, cut).astype(int)
        # Of a WFDB header and its files, the largest has the signal.
        signal_file = max(recording.files, key=lambda file: (file.suffix != ".hea", file.stat().st_size))
        return RecordingWindows(
            cut.starts[chosen],
            numbers[chosen],
            labels[chosen],
            match.modalities,
            None if listed.part else signal_file,
        )

    def _label(
        self,
        listed: ListedRecording,
        annotations: Sequence[Annotation],
        of_windows: Sequence[Annotation],
        starts: np.ndarray,
        seconds: float,
    ) -> np.ndarray:
        """Return the labels of the windows: float32 `(window, label)`."""
        rule = self.rule
        if not rule.by_annotations:
            labels = rule.label_row(listed.row)
            return np.tile(rule.no_label() if labels is None else labels, (len(starts), 1))
        if of_windows:
            return rule.label_annotations(of_windows)
        if rule.task.of == "window":
            return label_windows(rule, annotations, starts, self.description.window.length)
        return np.tile(label_recording(rule, annotations, seconds), (len(starts), 1))

    def _choose(
        self,
        starts: np.ndarray,
        of_windows: Sequence[Annotation],
        labels: np.ndarray,
        log: PreparationLog,
    ) -> np.ndarray:
        """Return which windows are used: bool `(window,)`."""
        chosen = np.ones(len(starts), bool)
        texts = [annotation.text for annotation in of_windows]
        for text, count in Counter(text for text in texts if self.rule.is_dropped(text)).items():
            log.count(f'{{}} windows are left out, as they are "{text}".', count)
        if texts:
            chosen &= ~np.array([self.rule.is_dropped(text) for text in texts])
        keep = self.description.window.keep
        if keep is not None:
            around = labels[:, self.rule.position_of(keep.around)] == 1
            near = near_others(starts, around | ~chosen, keep.minutes)
            log.count(
                f"{{}} windows are left out, as they are {keep.around} more than {keep.minutes:g} min before "
                "the first or after the last other window.",
                int((chosen & ~near).sum()),
            )
            chosen &= near
        return chosen

    def read(self, rows: pd.DataFrame, log: PreparationLog) -> Iterator[np.ndarray | None]:
        """Yield the window of each row; see `WindowReader`. A recording is opened once for its rows."""
        windows = zip(rows["file"], rows["part"], rows["start"], strict=True)
        for (file, part), run in groupby(windows, key=itemgetter(0, 1)):
            starts = np.array([start for *_, start in run])
            done = 0
            try:
                for window in self._read_recording(self.source / file, part, starts, log):
                    done += 1
                    yield window
            except DataError as error:
                log.reject(error)
                yield from [None] * (len(starts) - done)

    def _read_recording(
        self, file: Path, part: str, starts: np.ndarray, log: PreparationLog
    ) -> Iterator[np.ndarray | None]:
        """Yield the windows of a recording, and count those that have too little after the last one."""
        _, match = self.open(file, part)
        description = self.description
        length = description.window.length
        plan = self.plan
        shape = (len(plan.samples), plan.patches, max(plan.samples.values()))
        too_little = 0
        for block in _group_starts(starts, length, max(plan.samples.values()) / plan.seconds):
            seconds = block[-1] + length - block[0]
            samples = {name: match.read(name, block[0], seconds) for name in match.modalities}
            for start in block:
                window = np.full(shape, np.nan, np.float32)
                for i, (name, per_patch) in enumerate(plan.samples.items()):
                    if name in samples:
                        first = round((start - block[0]) * per_patch / plan.seconds)
                        values = samples[name][first : first + plan.patches * per_patch]
                        window[i, :, :per_patch] = values.reshape(plan.patches, per_patch)
                observed = np.count_nonzero(~np.isnan(window))
                share = observed / (plan.patches * sum(plan.samples.values()))
                if observed == 0 or share < description.window.least_observed:
                    too_little += 1
                    yield None
                else:
                    yield window
        log.count(describe_too_little(description.window.least_observed), too_little)
        for name, count in match.dropped.items():
            signal = description.signals[name]
            low, high = signal.range or (0, 0)
            where = f"outside {low:g} to {high:g} {signal.unit}" if signal.range else "beyond all numbers"
            log.count(f"{{}} samples of {name} are {where} and count as missing.", count)


def describe_too_little(least: float) -> str:
    """Return the sentence that counts windows with fewer samples than the share `least`."""
    observed = f"less than {100 * least:g} % of the samples are" if least else "nothing is"
    return f"{{}} windows are left out, as {observed} observed."


def _require_apart(listed: ListedRecording, annotations: Sequence[Annotation]) -> None:
    """Raise DataError when two states overlap, so that a window could have two classes."""
    states = [annotation for annotation in annotations if annotation.duration]
    for state, following in pairwise(states):
        if following.onset < state.onset + state.duration - 1e-6:
            raise DataError(
                f"recording {listed.record} has annotations that overlap at {following.onset:g} s, where "
                "each window must have one"
            )


def _group_starts(starts: np.ndarray, length: float, rate: float) -> Iterator[np.ndarray]:
    """Yield increasing starts (s) whose windows are read together."""
    most_seconds = max(length, BLOCK_BYTES / 8 / rate)
    first = 0
    for i in range(1, len(starts) + 1):
        if i == len(starts) or starts[i] < starts[i - 1] or starts[i] + length - starts[first] > most_seconds:
            yield starts[first:i]
            first = i
