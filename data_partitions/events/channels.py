"""The channels of the signals: which signal a measurement belongs to, and its value in the signal's unit."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np

from data_partitions.description.sections import SignalSection
from data_partitions.errors import DataError
from data_partitions.events.codes import Codes
from data_partitions.signals.units import Conversion, UnitError, conversion


class EventChannel(NamedTuple):
    """A channel of a signal."""

    name: str  # column or variable; of MEDS a code or a pattern of codes with `*`
    signal: int  # position of the signal
    # Position among the channels of the signal. In one step of the grid an earlier one is preferred.
    preference: int
    # From the values of the file to the unit of the signal, unless a row states a unit.
    conversion: Conversion


class ChannelMap:
    """The channels of all signals, whose `like` is resolved. `*` in a name may stand for any text.

    DataError when a unit cannot be converted, or a channel is that of two signals or a difference.
    """

    def __init__(self, signals: Mapping[str, SignalSection], patterns: bool = False):
        self.signals = tuple(signals)
        self._sections = tuple(signals.values())
        self.channels: list[EventChannel] = []
        for number, (name, section) in enumerate(signals.items()):
            for preference, channel in enumerate(section.channels or (name,)):
                if not isinstance(channel, str):
                    raise DataError(
                        f"signals.{name}: {' '.join(channel)} is a difference of channels, which needs "
                        "recordings with a rate: name one column or variable"
                    )
                unit = section.channel_units.get(channel) or section.file_unit or section.unit
                self.channels.append(
                    EventChannel(channel, number, preference, self._convert_unit(number, unit))
                )
        names = [channel.name for channel in self.channels]
        for name, other in zip(names, self.channels, strict=True):
            first = self.channels[names.index(name)]
            if first is not other:
                raise DataError(
                    f"channel {name} is that of signals.{self.signals[first.signal]} and of "
                    f"signals.{self.signals[other.signal]}: name it once"
                )
        self.names = tuple(names)
        self._codes = Codes(names, patterns)

    def find(self, name: str) -> int:
        """Return the position of the channel with a name, -1 if there is none."""
        return self._codes.find(name)

    def convert(self, channel: int, values: np.ndarray, unit: str = "") -> np.ndarray:
        """Convert values of a channel to the unit of its signal.

        `unit` is what the rows state, "" for nothing. Raises UnitError when it cannot be converted.
        """
        section = self._sections[self.channels[channel].signal]
        if section.scale != 1.0:
            values = values * section.scale
        convert = (
            conversion(unit, section.unit) if unit and section.unit else self.channels[channel].conversion
        )
        return convert.apply(values)

    def _convert_unit(self, signal: int, unit: str) -> Conversion:
        name, section = self.signals[signal], self._sections[signal]
        try:
            return conversion(unit, section.unit)
        except UnitError as error:
            raise DataError(f"signals.{name}: {error}") from None
