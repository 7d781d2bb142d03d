"""Find the channels of a file that a model reads, by their names, units and rates."""

from __future__ import annotations

import difflib
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

from data_partitions.errors import DataError
from data_partitions.sentences import list_some
from data_partitions.signals.match import Match, Source
from data_partitions.signals.resampling import has_same_rate
from data_partitions.signals.signal_spec import SignalSpec
from data_partitions.signals.units import (
    SAME_UNIT,
    Conversion,
    UnitError,
    clean_unit,
    conversion,
    is_arbitrary,
)

if TYPE_CHECKING:
    from data_partitions.recordings.recording import Channel, Recording

# Formats whose files have no place for a unit.
SUFFIXES_WITHOUT_UNITS = {".csv", ".tsv", ".txt", ".npy", ".npz", ".parquet"}
# Recorders whose rate is not quite the nominal one are resampled without asking.
NOMINAL_RATE_TOLERANCE = 1e-3
MAX_NAMES_IN_MESSAGE = 8
MAX_LAYOUTS = 1000

# Name, unit and rate of each channel, and whether it has samples; and whether the format states units.
_Layout = tuple[tuple[tuple[str, str, float, bool], ...], bool]


class _Channels(NamedTuple):
    """What `Match` has of all recordings of one layout."""

    sources: dict[str, Source]
    unknown: tuple[str, ...]
    notes: tuple[str, ...]


@dataclass(frozen=True)
class SignalMap:
    """The modalities of a model, found in files by name or alias.

    Names match when they are equal but for the case of letters and spaces around them; never by a prefix.

    Parameters
    ----------
    specs
        Modalities in the order of the model.
    allow_other_rates
        Resample channels of other rates. Without it, only rates that differ by less than 0.1 % are.
    """

    specs: tuple[SignalSpec, ...]
    allow_other_rates: bool = False
    _layouts: dict[_Layout, _Channels] = field(default_factory=dict, init=False, compare=False, repr=False)

    def match(self, recording: Recording) -> Match:
        """Find the channel of each modality.

        DataError when no channel is known, or one that is needed is there twice, or has a unit or a rate that
        cannot be brought to that of the model.
        """
        channels = tuple((c.name, c.unit, c.rate, c.samples > 0) for c in recording.channels)
        layout = (channels, _states_units(recording))
        if layout not in self._layouts:
            if len(self._layouts) >= MAX_LAYOUTS:
                self._layouts.clear()
            self._layouts[layout] = self._find_channels(recording)
        return Match(recording, self.specs, *self._layouts[layout])

    def _find_channels(self, recording: Recording) -> _Channels:
        notes: dict[str, list[str]] = {}
        sources = {}
        names = _Names(recording)
        for spec in self.specs:
            if candidates := names.find_sources(spec):
                first, *others = (self._check(spec, recording, positions, notes) for positions in candidates)
                sources[spec.name] = first._replace(others=tuple(others))
        self._require_distinct(recording, sources)
        read = [part for source in sources.values() for part in (source, *source.others)]
        matched = {position for source in read for position in source.channels}
        matched_names = {_key(recording.channels[position].name) for position in matched}
        unknown = tuple(c.name for c in recording.channels if c.samples and _key(c.name) not in matched_names)
        if not sources:
            raise DataError(self._describe_unknown(recording, unknown))
        sentences = tuple(
            f"{list_some(names, MAX_NAMES_IN_MESSAGE)}: {note}" for note, names in notes.items()
        )
        return _Channels(sources, unknown, sentences)

    def _check(
        self, spec: SignalSpec, recording: Recording, positions: list[list[int]], notes: dict[str, list[str]]
    ) -> Source:
        """Return where a modality is read; DataError if its channels do not have what it needs."""

        def note(sentence: str) -> None:
            notes.setdefault(sentence, []).append(spec.name)

        channels = [_choose_channel(recording, repeated, note) for repeated in positions]
        conversions = [_find_conversion(spec, recording, recording.channels[i], note) for i in channels]
        first, *others = (recording.channels[i] for i in channels)
        if others and not has_same_rate(first.rate, others[0].rate):
            raise DataError(
                f"{recording.file}: {spec.name} is {first.name} - {others[0].name}, which are at "
                f"{_format_rate(first.rate)} and {_format_rate(others[0].rate)}: they must have one rate"
            )
        if not has_same_rate(first.rate, spec.rate):
            if not self.allow_other_rates and abs(first.rate / spec.rate - 1) > NOMINAL_RATE_TOLERANCE:
                raise DataError(
                    f"{recording.file}: {first.name} is at {_format_rate(first.rate)}, but the model expects "
                    f"{_format_rate(spec.rate)}: give --resample to convert it"
                )
            how = f"the {spec.within} value of each step" if spec.within else "resampled"
            note(f"{how}, from {_format_rate(first.rate)} to {_format_rate(spec.rate)}")
        if spec.scale != 1:
            note(f"multiplied by {spec.scale:g}")
        return Source(spec, tuple(channels), tuple(conversions), first.rate)

    def _require_distinct(self, recording: Recording, sources: dict[str, Source]) -> None:
        reader: dict[tuple[int, ...], str] = {}
        for name, source in ((n, part) for n, first in sources.items() for part in (first, *first.others)):
            if (other := reader.setdefault(source.channels, name)) != name:
                channel = " - ".join(recording.channels[i].name for i in source.channels)
                raise DataError(
                    f"{recording.file}: {other} and {name} would both be read from {channel}: give each its "
                    "own channels"
                )

    def _describe_unknown(self, recording: Recording, unknown: tuple[str, ...]) -> str:
        expected = {_key(name): spec.name for spec in self.specs for names in spec.sources for name in names}
        advice = "rename them, or give their names as channels in the description"
        for name in unknown:
            if nearest := difflib.get_close_matches(_key(name), expected, 1, 0.8):
                advice = f'if "{name}" is {expected[nearest[0]]}, give it as one of its channels'
                break
        present = list_some(unknown, MAX_NAMES_IN_MESSAGE) or "none"
        known = list_some((spec.name for spec in self.specs), MAX_NAMES_IN_MESSAGE)
        return (
            f"{recording.file} has no channel that the model knows (it has {present}, known are {known}): "
            f"{advice}"
        )


def _key(name: str) -> str:
    return name.strip().casefold()


class _Names:
    """The channels of a recording by name: those that are written alike, or else those of any case.

    A name with its unit, such as "HR (bpm)", is also that of a channel whose unit the file states apart.
    """

    def __init__(self, recording: Recording) -> None:
        self._exact: dict[str, list[int]] = {}
        self._any_case: dict[str, list[int]] = {}
        self._with_unit: dict[str, list[int]] = {}
        for position, channel in enumerate(recording.channels):
            if channel.samples:
                self._exact.setdefault(channel.name.strip(), []).append(position)
                self._any_case.setdefault(_key(channel.name), []).append(position)
                for name in (f"{channel.name} ({channel.unit})", f"{channel.name} [{channel.unit}]"):
                    self._with_unit.setdefault(_key(name), []).append(position)

    def find(self, name: str) -> list[int]:
        key = _key(name)
        return self._exact.get(name.strip()) or self._any_case.get(key) or self._with_unit.get(key, [])

    def find_sources(self, spec: SignalSpec) -> list[list[list[int]]]:
        """Return the channels of a modality's names, for a difference those of both.

        Those of the first name that the recording has; of values in steps of time those of each.
        """
        sources = []
        for source in spec.sources:
            positions = [self.find(name) for name in source]
            if all(positions) and positions not in sources:
                sources.append(positions)
        return sources if spec.within else sources[:1]


def _choose_channel(recording: Recording, positions: list[int], note: Callable[[str], None]) -> int:
    """Return the first of the channels of one name; DataError unless they are of one kind."""
    first, *others = (recording.channels[i] for i in positions)
    if others:
        if any((other.unit, other.rate) != (first.unit, first.rate) for other in others):
            raise DataError(
                f"{recording.file} has {len(positions)} channels of the name {first.name}, with different "
                "units or rates: rename one of them"
            )
        note(f"the first of {len(positions)} channels of the name {first.name}")
    return positions[0]


def _states_units(recording: Recording) -> bool:
    """Whether the format of a file has a place for units."""
    return SUFFIXES_WITHOUT_UNITS.isdisjoint(suffix.lower() for suffix in recording.file.suffixes)


def _find_conversion(
    spec: SignalSpec, recording: Recording, channel: Channel, note: Callable[[str], None]
) -> Conversion:
    """Return the conversion of a channel to a modality's unit; DataError if there is none."""
    unit = channel.unit.strip()
    try:
        if file_unit := spec.file_unit_of(channel.name):
            if clean_unit(unit) != clean_unit(file_unit):
                stated = f'not "{unit}"' if unit else "the file states no unit"
                note(f'in "{file_unit}" by the description, {stated}')
            unit = file_unit
        if is_arbitrary(spec.unit):
            if not is_arbitrary(unit):
                note(f'taken as they are, in "{unit}", because the unit of the model is arbitrary')
            return SAME_UNIT
        if is_arbitrary(unit):
            if _states_units(recording):
                stated = f'has the unit "{unit}"' if unit else "has no unit"
                raise DataError(
                    f"{recording.file}: {channel.name} {stated}, but the model expects {spec.unit}: if it is "
                    f'in {spec.unit}, give file-unit = "{spec.unit}" in the description'
                )
            note("taken as in the unit of the model, because the file states none")
            return SAME_UNIT
        to_model = conversion(unit, spec.unit)
    except UnitError as error:
        place = f"; {spec.place} has the unit of {spec.name}" if spec.place else ""
        raise DataError(f"{recording.file}: {channel.name}: {error}{place}") from None
    if to_model != SAME_UNIT:
        note(f"converted from {unit} to {spec.unit}")
    return to_model


def _format_rate(rate: float) -> str:
    if rate >= 0.1:
        return f"{rate:.10g} Hz"
    return f"1 sample in {1 / rate / 3600:.6g} h" if rate <= 1 / 3600 else f"1 sample in {1 / rate:.6g} s"
