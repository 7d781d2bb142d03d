"""Windows of tables over time: csv and parquet with a time in each row, and MEDS."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from data_partitions.checkpoint import Checkpoint
from data_partitions.description.durations import SECONDS, format_seconds
from data_partitions.description.sections import Description
from data_partitions.errors import DataError
from data_partitions.events.files import EventFile
from data_partitions.events.windows import read_windows
from data_partitions.preparation_log import PreparationLog
from data_partitions.sources.described.labels import LabelRule
from data_partitions.sources.described.listing import ListedRecording, Listing
from data_partitions.sources.described.meds_stays import subject_of
from data_partitions.sources.described.recording_windows import RecordingWindows
from data_partitions.sources.described.sampled import describe_too_little
from data_partitions.sources.described.schema import plan_windows
from data_partitions.sources.described.stays import Stays, find_event_files, list_stays, require_start
from data_partitions.sources.described.windows import cut_recording


class EventRecordings:
    """Cuts and reads the recordings of a description whose files have a time in each row."""

    def __init__(self, description: Description, source: Path, rule: LabelRule) -> None:
        self.description = description
        self.source = source
        self.rule = rule
        self.plan = plan_windows(description)
        self._files: list[EventFile] = []

    def list(self, log: PreparationLog) -> Listing:
        """List the recordings."""
        return self.take(list_stays(self.description, self.source, log))

    def take(self, stays: Stays) -> Listing:
        """Use recordings that are listed already."""
        times = zip(stays.times["start"].tolist(), stays.times["end"].tolist(), strict=True)
        self._times = dict(zip(stays.times.index, times, strict=True))
        self._files = stays.files
        return stays.listing

    def cut(
        self, recordings: Sequence[ListedRecording], log: PreparationLog
    ) -> Iterator[tuple[ListedRecording, RecordingWindows]]:
        """Yield the windows of listed recordings; their starts are on the time axis of the files."""
        for listed in recordings:
            try:
                yield listed, self._cut(listed, log)
            except DataError as error:
                log.reject(error)

    def _cut(self, listed: ListedRecording, log: PreparationLog) -> RecordingWindows:
        """Return the windows of a recording; DataError when it is not known when it starts."""
        task, window = self.description.task, self.description.window
        start, end = self._times[listed.record]
        require_start(self.description, listed.record, start)
        starts, numbers = np.zeros(0), np.zeros(0, int)
        if np.isnan(end) and (task.after is not None or window.take != "first"):
            log.count("{} recordings are left out, as the end is not stated.")
        elif task.after is not None and end - start < task.after:
            log.count(f"{{}} recordings of less than {format_seconds(task.after)} are left out.")
        else:
            seconds = window.length if np.isnan(end) else end - start
            cut = cut_recording(window, listed.record, seconds)
            starts, numbers = start + cut.starts, np.arange(len(cut.starts))
            if not len(starts):
                log.count("{} recordings have no complete window.")
        labels = self.rule.label_row(listed.row)
        labels = np.tile(self.rule.no_label() if labels is None else labels, (len(starts), 1))
        if task.until:
            remaining = (end - starts - window.length) / SECONDS[task.unit]
            known = remaining >= 0  # not NaN
            log.count(
                "{} windows are left out, as the recording ends earlier or its end is not stated.",
                int((~known).sum()),
            )
            labels = remaining[:, None].astype(np.float32)
            starts, numbers, labels = starts[known], numbers[known], labels[known]
        return RecordingWindows(starts, numbers, labels, tuple(self.description.signals), None)

    def read(
        self, rows: pd.DataFrame, log: PreparationLog, checkpoint: Checkpoint | None = None
    ) -> Iterator[np.ndarray | None]:
        """Yield the windows of rows of the index: float32 `(modality, patch, sample)`, NaN where missing."""
        plan, least = self.plan, self.description.window.least_observed
        shape = (len(plan.samples), plan.patches, max(plan.samples.values()))
        valid = np.arange(shape[2]) < np.array(list(plan.samples.values()))[:, None, None]
        valid = np.broadcast_to(valid, shape)
        too_little = 0
        recordings, starts = rows["recording_id"].tolist(), rows["start"].tolist()
        if self.description.files.format == "meds":
            recordings = list(map(subject_of, recordings))
        files = self._files or find_event_files(self.description, self.source)
        for signals in read_windows(self.description, files, recordings, starts, log, checkpoint):
            if signals is None:
                yield None
                continue
            samples = np.concatenate(signals)
            window = np.full(shape, np.nan, np.float32)
            window[valid] = samples
            if np.count_nonzero(~np.isnan(samples)) < least * len(samples):
                too_little += 1
                yield None
            else:
                yield window
        log.count(describe_too_little(least), too_little)
