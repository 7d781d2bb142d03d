"""Between the channels of a file and the windows of a model, modality × patch × sample at its rates."""

from dataclasses import dataclass

import numpy as np

from data_partitions.errors import DataError
from data_partitions.recordings.recording import Recording, Signal


@dataclass(frozen=True)
class WindowGrid:
    """The windows a model reads, as `Manifest.schema()` describes them.

    A recording is cut into windows one after the other; the last may reach beyond its end, where nothing is
    observed. With `resample` channels of other rates are brought to the model's: a sample is the mean of what
    was observed in its time, or the straight line between its neighbours. With `keep_unknown` channels that
    the model does not know are left as they are.
    """

    modalities: tuple[tuple[str, str, int], ...]  # name, unit, samples per patch
    patch_seconds: float
    patches: int
    resample: bool = False
    keep_unknown: bool = False

    @classmethod
    def of(cls, schema: dict, **options: bool) -> "WindowGrid":
        modalities = tuple((m["name"], m["unit"], m["samples_per_patch"]) for m in schema["modalities"])
        return cls(modalities, schema["patch_seconds"], schema["patches"], **options)

    @property
    def samples(self) -> int:
        """Samples per patch of the fastest modality."""
        return max(samples for *_, samples in self.modalities)

    @property
    def samples_there(self) -> np.ndarray:
        """Where a modality has samples `(modality, 1, sample)`; a slow one has fewer in a patch."""
        rates = np.array([samples for *_, samples in self.modalities])
        return (np.arange(self.samples) < rates[:, None])[:, None, :]

    def windows(self, recording: Recording) -> np.ndarray:
        """float32 (window, modality, patch, sample), NaN where not observed, in the model's units.

        Raises DataError when channels are not the model's, or come in other units or rates.
        """
        places = self.places(recording)
        seconds = max(len(s.samples) / s.rate for s in recording.signals)
        count = max(1, int(np.ceil(seconds / (self.patches * self.patch_seconds) - 1e-9)))
        out = np.full((count, len(self.modalities), self.patches, self.samples), np.nan, np.float32)
        for m, place in places.items():
            signal, (_, _, per_patch) = recording.signals[place], self.modalities[m]
            whole = np.full(count * self.patches * per_patch, np.nan)
            found = _at_rate(signal, per_patch / self.patch_seconds)[: len(whole)]
            whole[: len(found)] = found
            out[:, m, :, :per_patch] = whole.reshape(count, self.patches, per_patch)
        return out

    def signals(self, recording: Recording, windows: np.ndarray) -> list[np.ndarray]:
        """The channels with what they lack taken from `windows`; observed samples are those of the file."""
        out = [signal.samples for signal in recording.signals]
        for m, place in self.places(recording).items():
            signal, (_, _, per_patch) = recording.signals[place], self.modalities[m]
            flat = windows[:, m, :, :per_patch].reshape(-1).astype(np.float64)
            rate, lacks = per_patch / self.patch_seconds, np.isnan(signal.samples)
            if np.isclose(signal.rate, rate):
                filled = flat[: len(lacks)]
            else:
                at = np.arange(len(flat)) / rate
                filled = np.interp(_middles(signal), at + _half(rate), flat)
            out[place] = np.where(lacks, filled, signal.samples)
        return out

    def places(self, recording: Recording) -> dict[int, int]:
        """Which channel of the recording is which modality; DataError when it does not fit."""
        file, names = recording.file, [signal.name for signal in recording.signals]
        known = ", ".join(name for name, *_ in self.modalities)
        places = {}
        for m, (name, unit, per_patch) in enumerate(self.modalities):
            if (place := _find(name, names)) is None:
                continue
            signal, rate = recording.signals[place], per_patch / self.patch_seconds
            if _plain(signal.unit) and _plain(unit) and _plain(signal.unit) != _plain(unit):
                raise DataError(
                    f'{file}: {signal.name} is in "{signal.unit}", the model expects {unit}: convert it'
                )
            if not np.isclose(signal.rate, rate) and not self.resample:
                raise DataError(
                    f"{file}: {signal.name} is at {signal.rate:g} Hz, the model expects {rate:g} Hz: "
                    "give --resample to have it brought to that"
                )
            places[m] = place
        unknown = [name for i, name in enumerate(names) if i not in places.values()]
        if not places:
            has = ", ".join(names) or "none"
            raise DataError(f"{file} has no channel that the model knows: it has {has}, known are {known}")
        if unknown and not self.keep_unknown:
            raise DataError(
                f"{file} has {', '.join(unknown)}, which the model does not know (known are {known}): "
                "rename them, or give --keep-unknown to leave them as they are"
            )
        return places

    def absent(self, recording: Recording) -> list[str]:
        """Modalities of the model that the recording does not have, or has no observed sample of."""
        places = self.places(recording)
        return [
            name
            for m, (name, *_) in enumerate(self.modalities)
            if m not in places or np.isnan(recording.signals[places[m]].samples).all()
        ]


def _find(name: str, names: list[str]) -> int | None:
    """The place of a modality: by its name, or the one channel that says more of it ("EOG horizontal")."""
    lower = [other.strip().lower() for other in names]
    if name.lower() in lower:
        return lower.index(name.lower())
    longer = [i for i, other in enumerate(lower) if other.startswith(f"{name.lower()} ")]
    return longer[0] if len(longer) == 1 else None


def _plain(unit: str) -> str:
    """A unit as it is compared; "" for none, or one that says nothing."""
    plain = unit.strip().lower().replace("µ", "u").replace("μ", "u")
    return "" if plain in ("a.u.", "au") else plain


def _half(rate: float) -> float:
    return 0.5 / rate


def _middles(signal: Signal) -> np.ndarray:
    """The middle of the time that each sample stands for, in s."""
    return (np.arange(len(signal.samples)) + 0.5) / signal.rate


def _at_rate(signal: Signal, rate: float) -> np.ndarray:
    """The samples at another rate, NaN where nothing near was observed."""
    if np.isclose(signal.rate, rate):
        return signal.samples
    x, seen = signal.samples, ~np.isnan(signal.samples)
    count = int(np.ceil(len(x) / signal.rate * rate - 1e-9))
    if signal.rate > rate:  # the mean of each stretch keeps out what the lower rate cannot show
        place = np.minimum((_middles(signal) * rate).astype(int), count - 1)
        number = np.bincount(place[seen], minlength=count)
        total = np.bincount(place[seen], weights=x[seen], minlength=count)
        return np.where(number > 0, total / np.maximum(number, 1), np.nan)
    # NaN of either neighbour is NaN of the line between them.
    return np.interp((np.arange(count) + 0.5) / rate, _middles(signal), x)
