"""The samples of a file in the units, rates and ranges of a model, and back."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from fractions import Fraction
from functools import partial
from math import ceil
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from data_partitions.signals.resampling import find_ratio, has_same_rate, resample
from data_partitions.signals.signal_spec import SignalSpec
from data_partitions.signals.steps import reduce_to_steps
from data_partitions.signals.units import Conversion

if TYPE_CHECKING:
    from data_partitions.recordings.recording import Recording

FLOAT32_RANGE = (float(np.finfo(np.float32).min), float(np.finfo(np.float32).max))


class Source(NamedTuple):
    """Where the samples of a modality are."""

    spec: SignalSpec  # the modality
    # Position of its channel in the recording, or of the two whose difference it is.
    channels: tuple[int, ...]
    conversions: tuple[Conversion, ...]  # from the unit of each channel to that of the modality
    rate: float  # samples per second (Hz) in the file
    # Of values in steps of time, those that count where the channels before them have none.
    others: tuple[Source, ...] = ()

    @property
    def range(self) -> tuple[float, float]:
        """Lowest and highest value in the model's unit; without a plausible range that of float32."""
        return self.spec.range or FLOAT32_RANGE


class Piece(NamedTuple):
    """Samples of a channel from its sample `first` on, in the unit and at the rate of the file."""

    channel: int
    first: int
    samples: np.ndarray


@dataclass
class Match:
    """A recording, read as the modalities of a model. Made by `SignalMap.match`.

    Parameters
    ----------
    recording
        The recording.
    specs
        Modalities in the order of the model.
    sources
        Where each modality is that the recording has, by name, in the order of the model.
    unknown
        Names of channels that the model does not know.
    notes
        Sentences on what is converted or taken for granted, the same for all files of one kind.
    dropped
        Values outside the range so far, by modality. Each counts once if a modality is read in order of time.
    """

    recording: Recording
    specs: tuple[SignalSpec, ...]
    sources: Mapping[str, Source]
    unknown: tuple[str, ...]
    notes: tuple[str, ...]
    dropped: Counter[str] = field(default_factory=Counter)
    # Samples of channels of which the dropped are counted.
    _counted: dict[tuple[int, ...], int] = field(default_factory=dict)

    @property
    def modalities(self) -> tuple[str, ...]:
        """Modalities that the recording has, in the order of the model."""
        return tuple(self.sources)

    @property
    def absent(self) -> tuple[str, ...]:
        """Modalities that the recording does not have."""
        return tuple(spec.name for spec in self.specs if spec.name not in self.sources)

    @property
    def differences(self) -> tuple[str, ...]:
        """Modalities that are differences of two channels, and cannot be written back."""
        return tuple(name for name, source in self.sources.items() if len(source.channels) > 1)

    @property
    def seconds(self) -> float:
        """Length of the longest of the modalities, in s."""
        channels = self.recording.channels
        return max(
            channels[i].samples / channels[i].rate
            for source in self.sources.values()
            for part in (source, *source.others)
            for i in part.channels
        )

    def read(self, modality: str, start_s: float, seconds: float) -> np.ndarray:
        """Read samples of a modality.

        Parameters
        ----------
        modality
            Name of one of `modalities`.
        start_s, seconds
            Start, from that of the recording, and length, in s; rounded to samples of the model.

        Returns
        -------
        np.ndarray
            float32 `(sample,)` in the unit and at the rate of the model; NaN where nothing was measured, or
            where the value is outside the range.
        """
        source = self.sources[modality]
        samples = self._read_source(source, start_s, seconds)
        for other in source.others:
            samples = np.where(np.isnan(samples), self._read_source(other, start_s, seconds), samples)
        return samples

    def _read_source(self, source: Source, start_s: float, seconds: float) -> np.ndarray:
        spec = source.spec
        first = round(start_s * spec.rate)
        last = first + round(seconds * spec.rate)
        ratio = find_ratio(source.rate, spec.rate)
        if has_same_rate(source.rate, spec.rate):
            samples = self._read_channels(source, first, last, first, last)
        elif spec.within:
            edges = np.array([ceil(step / ratio) for step in range(first, last + 1)])
            values = self._read_channels(source, edges[0], edges[-1], edges[0], edges[-1])
            samples = reduce_to_steps(values, edges - edges[0], spec.within)
        else:
            read = partial(
                self._read_channels, source, count_first=ceil(first / ratio), count_last=ceil(last / ratio)
            )
            samples = resample(read, source.rate, spec.rate, first, last)
            np.clip(samples, *source.range, out=samples)  # a filter may overshoot
        return samples.astype(np.float32)

    def to_file(
        self,
        modality: str,
        samples: np.ndarray,
        start_s: float,
        first_s: float | None = None,
        last_s: float | None = None,
    ) -> list[Piece]:
        """Bring samples of the model to the unit and the rate of the file.

        Successive calls without a gap in time give successive pieces without a gap. Where rates differ,
        samples at the borders of a call are less exact, unless the samples reach beyond `first_s` and
        `last_s`, by 25 samples of the lower rate.

        Parameters
        ----------
        modality
            Name of one of `modalities`.
        samples
            `(sample,)` in the unit and at the rate of the model, NaN where there are none.
        start_s
            Time of the first of them, from the start of the recording, in s.
        first_s, last_s
            Range of time to return, in s; by default that of the samples.

        Returns
        -------
        list of Piece
            One piece within the length of the channel; none for a difference of channels.
        """
        source = self.sources[modality]
        if len(source.channels) > 1:
            return []
        spec, (position,), (conversion,) = source.spec, source.channels, source.conversions
        start = round(start_s * spec.rate)
        low = start if first_s is None else round(first_s * spec.rate)
        high = start + len(samples) if last_s is None else round(last_s * spec.rate)
        values = np.asarray(samples, np.float64)
        ratio = find_ratio(spec.rate, source.rate)
        if has_same_rate(source.rate, spec.rate):
            first, piece = low, values[low - start : high - start]
        elif spec.within:
            # The file's sample i is in step floor(i / ratio).
            first, last = ceil(low * ratio), ceil(high * ratio)
            steps = np.array([int(i / ratio) for i in range(first, last)], int) - start
            piece = values[steps]
        else:
            # A sample of the model stands for half the time to its neighbours.
            half = Fraction(1, 2)
            first, last = ceil((low - half) * ratio), ceil((high - half) * ratio)
            piece = resample(partial(_read_array, values, start), spec.rate, source.rate, first, last)
            np.clip(piece, *source.range, out=piece)
        end = self.recording.channels[position].samples
        piece = piece[max(0, -first) : max(0, end - first)]
        return [Piece(position, max(0, first), conversion.invert(piece) / spec.scale)]

    def _read_channels(
        self, source: Source, first: int, last: int, count_first: int, count_last: int
    ) -> np.ndarray:
        """Read a modality in its unit, at the rate of the file, and count what is outside the range."""
        values = [
            conversion.apply(_scale(self.recording.read(channel, first, last), source.spec.scale))
            for channel, conversion in zip(source.channels, source.conversions, strict=True)
        ]
        samples = values[0] if len(values) == 1 else values[0] - values[1]
        low, high = source.range
        outside = (samples < low) | (samples > high)
        if outside.any():
            count_first = max(count_first, self._counted.get(source.channels, 0), first)
            self.dropped[source.spec.name] += int(
                outside[count_first - first : max(count_last - first, 0)].sum()
            )
            samples = np.where(outside, np.nan, samples)
        counted = self._counted.get(source.channels, 0)
        self._counted[source.channels] = max(counted, min(count_last, last))
        return samples


def _scale(values: np.ndarray, scale: float) -> np.ndarray:
    return values if scale == 1 else values * scale


def _read_array(values: np.ndarray, start: int, first: int, last: int) -> np.ndarray:
    """Read from an array whose first sample is number `start`; NaN beyond it."""
    out = np.full(last - first, np.nan)
    low, high = max(first, start), min(last, start + len(values))
    if low < high:
        out[low - first : high - first] = values[low - start : high - start]
    return out
