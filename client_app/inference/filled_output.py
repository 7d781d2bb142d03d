"""Completed samples written into copies of a recording, where the recording has none."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from client_app.inference.recording_reader import OpenedRecording
from condi_core.windows import Schema
from data_partitions.recordings.recording import Output

MAX_INTERVALS = 10_000  # of a channel in a provenance file
CONTEXT_SAMPLES = 32  # of the slowest modality, which the change of a rate needs on either side


class FilledOutput:
    """Writes completed stretches of a recording in the order of time.

    What is written is delayed by some patches, because the change to the rate of a file needs the samples on
    either side. There is an output for the point estimate, and one for each quantile.
    """

    def __init__(self, opened: OpenedRecording, outputs: Sequence[Output], schema: Schema) -> None:
        self.opened = opened
        self.outputs = outputs
        self.schema = schema
        slowest = min(m.samples_per_patch for m in schema.modalities)
        self.context = -(-CONTEXT_SAMPLES // slowest) if opened.is_resampled else 0
        self.first = 0  # first patch of `pending`
        self.written = 0  # first patch that is not written
        self.pending = np.zeros((len(outputs), len(schema.modalities), 0, schema.samples), np.float32)
        self.missing = np.zeros(self.pending.shape[1:], bool)
        self.intervals: dict[int, _Intervals] = {}  # by channel

    def append(self, observed: np.ndarray, completed: np.ndarray, is_last: bool) -> None:
        """Add the next patches of the recording, and write what has its context.

        `observed` is (modality, patch, sample), NaN where not observed; `completed` (level, modality, patch,
        sample), NaN where nothing had to be completed.
        """
        self.pending = np.concatenate(
            [self.pending, np.where(np.isnan(completed), observed, completed)], axis=2
        )
        self.missing = np.concatenate([self.missing, np.isnan(observed)], axis=1)
        end = self.first + self.pending.shape[2]
        if is_last:
            self._extend()
        ready = end + self.context if is_last else max(self.written, end - self.context)
        self._write(self.written, ready)
        self.written = ready
        unneeded = max(0, ready - self.context - self.first)
        self.pending, self.missing = self.pending[:, :, unneeded:], self.missing[:, unneeded:]
        self.first += unneeded

    def _extend(self) -> None:
        """Repeat the last sample of each modality, for samples of the file that come after it."""
        shape = (*self.pending.shape[:2], self.context, self.schema.samples)
        repeated = np.empty(shape, np.float32)
        for m, modality in enumerate(self.schema.modalities):
            last = modality.samples_per_patch
            repeated[:, m] = self.pending[:, m, -1:, last - 1 : last]
        self.pending = np.concatenate([self.pending, repeated], axis=2)
        self.missing = np.pad(self.missing, ((0, 0), (0, self.context), (0, 0)))

    def describe(self) -> dict[str, object]:
        """Return which samples of each channel are imputed, for the provenance file."""
        imputed = {self._name(channel): intervals for channel, intervals in self.intervals.items()}
        return {
            "imputed samples": {name: intervals.number for name, intervals in imputed.items()},
            "imputed samples as [first, end)": {
                name: intervals.runs[:MAX_INTERVALS] for name, intervals in imputed.items()
            },
        }

    def _name(self, channel: int) -> str:
        names = [c.name for c in self.opened.recording.channels]
        return names[channel] if names.count(names[channel]) == 1 else f"{names[channel]} (channel {channel})"

    def _write(self, first: int, end: int) -> None:
        seconds = self.schema.patch_seconds
        for m, modality in enumerate(self.schema.modalities):
            name = modality.name
            if name not in self.opened.match.modalities or not self._may_lack_samples(m, first, end):
                continue
            for level, output in enumerate(self.outputs):
                samples = self.pending[level, m, :, : modality.samples_per_patch].reshape(-1)
                pieces = self.opened.match.to_file(
                    name, samples, self.first * seconds, first * seconds, end * seconds
                )
                for piece in pieces:
                    output.fill(*piece)
                    if not level:
                        self._record(*piece)

    def _may_lack_samples(self, m: int, first: int, end: int) -> bool:
        """Whether the file may lack samples of a modality in some patches: at another rate it always may."""
        modality = self.schema.modalities[m]
        source = self.opened.match.sources[modality.name]
        missing = self.missing[m, first - self.first : end - self.first, : modality.samples_per_patch]
        return source.rate != source.spec.rate or bool(missing.any())

    def _record(self, channel: int, first: int, samples: np.ndarray) -> None:
        measured = self.opened.recording.read(channel, first, first + len(samples))
        filled = np.isnan(measured) & ~np.isnan(samples)
        if filled.any():
            self.intervals.setdefault(channel, _Intervals()).add(first, filled)


class _Intervals:
    """Runs of samples as [first, end), of which those that touch are joined."""

    def __init__(self) -> None:
        self.number = 0
        self.runs: list[list[int]] = []

    def add(self, first: int, mask: np.ndarray) -> None:
        self.number += int(mask.sum())
        if len(self.runs) > MAX_INTERVALS:
            return
        edges = np.flatnonzero(np.diff(np.concatenate([[0], mask.astype(np.int8), [0]]))) + first
        runs = edges.reshape(-1, 2).tolist()
        if self.runs and runs and self.runs[-1][1] == runs[0][0]:
            self.runs[-1][1] = runs.pop(0)[1]
        self.runs += runs
