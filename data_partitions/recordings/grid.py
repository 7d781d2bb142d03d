"""Convert between the channels of a file and the windows (modality, patch, sample) that a model reads."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from data_partitions.errors import DataError
from data_partitions.recordings.whole_recording import Recording, Signal


class GridModality(NamedTuple):
    """One row of the grid."""

    name: str
    unit: str
    samples_per_patch: int


@dataclass(frozen=True)
class WindowGrid:
    """The windows that a model reads.

    A recording is cut into successive windows. The last one may reach beyond the end of the recording, where
    nothing is observed.

    Parameters
    ----------
    modalities
        Modalities of the model, in its order.
    patch_seconds
        Length of a patch, in s.
    patches
        Number of patches in a window.
    resample
        Accept channels of other rates and convert them to the model's. When the rate decreases, a new sample
        is the mean of the samples observed in its time; when it increases, samples are interpolated linearly.
    keep_unknown
        Accept channels that the model does not know, and do not change them.
    """

    modalities: tuple[GridModality, ...]
    patch_seconds: float
    patches: int
    resample: bool = False
    keep_unknown: bool = False

    @classmethod
    def from_schema(cls, schema: Mapping[str, Any], **options: bool) -> "WindowGrid":
        """Make the grid of a schema; see `Manifest.schema_fields`."""
        modalities = tuple(
            GridModality(m["name"], m["unit"], m["samples_per_patch"]) for m in schema["modalities"]
        )
        return cls(modalities, schema["patch_seconds"], schema["patches"], **options)

    @property
    def max_samples_per_patch(self) -> int:
        """Samples per patch of the fastest modality."""
        return max(m.samples_per_patch for m in self.modalities)

    @property
    def valid_samples(self) -> np.ndarray:
        """Bool `(modality, 1, sample)`: False where a slower modality has padding."""
        samples = np.array([m.samples_per_patch for m in self.modalities])
        return (np.arange(self.max_samples_per_patch) < samples[:, None])[:, None, :]

    def cut_windows(self, recording: Recording) -> np.ndarray:
        """Cut a recording into windows.

        Returns
        -------
        np.ndarray
            float32 `(window, modality, patch, sample)` in the model's units, NaN where not observed.

        Raises
        ------
        DataError
            Channels are not those of the model, or have other units or rates.
        """
        channels = self.find_channels(recording)
        seconds = max(len(s.samples) / s.rate for s in recording.signals)
        count = max(1, int(np.ceil(seconds / (self.patches * self.patch_seconds) - 1e-9)))
        shape = (count, len(self.modalities), self.patches, self.max_samples_per_patch)
        windows = np.full(shape, np.nan, np.float32)
        for m, channel in channels.items():
            per_patch = self.modalities[m].samples_per_patch
            padded = np.full(count * self.patches * per_patch, np.nan)
            samples = _at_rate(recording.signals[channel], per_patch / self.patch_seconds)[: len(padded)]
            padded[: len(samples)] = samples
            windows[:, m, :, :per_patch] = padded.reshape(count, self.patches, per_patch)
        return windows

    def fill_signals(self, recording: Recording, windows: np.ndarray) -> list[np.ndarray]:
        """Fill the missing samples of a recording from windows.

        Parameters
        ----------
        recording
            The recording.
        windows
            Completed windows, of the shape that `cut_windows` gives.

        Returns
        -------
        list of np.ndarray
            Samples of each channel. Observed samples are unchanged.
        """
        filled = [signal.samples for signal in recording.signals]
        for m, channel in self.find_channels(recording).items():
            signal = recording.signals[channel]
            per_patch = self.modalities[m].samples_per_patch
            flat = windows[:, m, :, :per_patch].reshape(-1).astype(np.float64)
            rate = per_patch / self.patch_seconds
            if np.isclose(signal.rate, rate):
                completed = flat[: len(signal.samples)]
            else:
                centres = np.arange(len(flat)) / rate + 0.5 / rate
                completed = np.interp(_sample_centres(signal), centres, flat)
            filled[channel] = np.where(np.isnan(signal.samples), completed, signal.samples)
        return filled

    def find_channels(self, recording: Recording) -> dict[int, int]:
        """Find the channel of each modality; DataError when the recording does not fit the model.

        Returns
        -------
        dict
            Position of the channel in the recording, by position of the modality in the grid.
        """
        file = recording.file
        names = [signal.name for signal in recording.signals]
        known = ", ".join(m.name for m in self.modalities)
        channels: dict[int, int] = {}
        for m, modality in enumerate(self.modalities):
            if (channel := _find_channel(modality.name, names)) is None:
                continue
            signal, rate = recording.signals[channel], modality.samples_per_patch / self.patch_seconds
            unit, expected_unit = _normalise_unit(signal.unit), _normalise_unit(modality.unit)
            if unit and expected_unit and unit != expected_unit:
                raise DataError(
                    f'{file}: {signal.name} is in "{signal.unit}", but the model expects {modality.unit}: '
                    "convert it"
                )
            if not np.isclose(signal.rate, rate) and not self.resample:
                raise DataError(
                    f"{file}: {signal.name} is at {signal.rate:g} Hz, but the model expects {rate:g} Hz: "
                    "give --resample to convert it"
                )
            channels[m] = channel
        unknown = [name for i, name in enumerate(names) if i not in channels.values()]
        if not channels:
            raise DataError(
                f"{file} has no channel that the model knows: it has {', '.join(names) or 'none'}, known are "
                f"{known}"
            )
        if unknown and not self.keep_unknown:
            raise DataError(
                f"{file} has {', '.join(unknown)}, which the model does not know (known are {known}): "
                "rename them, or give --keep-unknown to leave them as they are"
            )
        return channels

    def absent_modalities(self, recording: Recording) -> list[str]:
        """Return the modalities of which the recording has no channel or no observed sample."""
        channels = self.find_channels(recording)
        return [
            modality.name
            for m, modality in enumerate(self.modalities)
            if m not in channels or np.isnan(recording.signals[channels[m]].samples).all()
        ]


def _find_channel(modality: str, names: list[str]) -> int | None:
    """Find the channel with the name of a modality, or the only one whose name begins with it and a space."""
    lower = [name.strip().lower() for name in names]
    if modality.lower() in lower:
        return lower.index(modality.lower())
    longer = [i for i, name in enumerate(lower) if name.startswith(f"{modality.lower()} ")]
    return longer[0] if len(longer) == 1 else None


def _normalise_unit(unit: str) -> str:
    """Normalise a unit for comparison; "" stands for no unit and for arbitrary units."""
    normal = unit.strip().lower().replace("µ", "u").replace("μ", "u")
    return "" if normal in ("a.u.", "au") else normal


def _sample_centres(signal: Signal) -> np.ndarray:
    """Return the centre of the time that each sample stands for, in s."""
    return (np.arange(len(signal.samples)) + 0.5) / signal.rate


def _at_rate(signal: Signal, rate: float) -> np.ndarray:
    """Resample a signal; NaN where no neighbouring sample was observed."""
    if np.isclose(signal.rate, rate):
        return signal.samples
    samples, observed = signal.samples, ~np.isnan(signal.samples)
    count = int(np.ceil(len(samples) / signal.rate * rate - 1e-9))
    if signal.rate > rate:  # the mean suppresses frequencies that the lower rate cannot represent
        target = np.minimum((_sample_centres(signal) * rate).astype(int), count - 1)
        counts = np.bincount(target[observed], minlength=count)
        sums = np.bincount(target[observed], weights=samples[observed], minlength=count)
        return np.where(counts > 0, sums / np.maximum(counts, 1), np.nan)
    # A NaN on either side makes the line between the two NaN.
    return np.interp((np.arange(count) + 0.5) / rate, _sample_centres(signal), samples)
