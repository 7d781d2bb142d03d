"""What a model reads in each modality, and under which names and in which units files have it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, NamedTuple

from data_partitions.description.section import ChannelNames
from data_partitions.description.sections import Description

if TYPE_CHECKING:
    from data_partitions.signals.steps import Within


class SignalSpec(NamedTuple):
    """One modality of a model, and how to find it in a file.

    Parameters
    ----------
    name
        Name of the modality.
    unit
        Unit of the model; "" or "a.u." if it is arbitrary.
    rate
        Samples per second (Hz) of the model.
    channels
        Channels of the file, of which the first that a file has is read; in steps of time all are,
        and the first with a value counts. A difference of two is `("C3", "-", "M2")`. By default the
        name of the modality.
    range
        Lowest and highest plausible value in the model's unit.
    scale
        Factor that corrects the values of the file, in the unit of the file.
    file_unit
        Unit of the file, where it states none or a wrong one.
    within
        For values in steps of time: which of several values in one step counts. "" for sampled signals, which
        are resampled instead.
    place
        Where the description has the unit, such as "dataset.toml, line 12"; "" without a file.
    channel_units
        Name and unit of single channels, for which `file_unit` does not count.
    """

    name: str
    unit: str
    rate: float
    channels: tuple[ChannelNames, ...] = ()
    range: tuple[float, float] | None = None
    scale: float = 1.0
    file_unit: str = ""
    within: Within | Literal[""] = ""
    place: str = ""
    channel_units: tuple[tuple[str, str], ...] = ()

    @property
    def sources(self) -> tuple[tuple[str, ...], ...]:
        """The channels in the order of preference, each as one name, or as two whose difference it is."""
        channels = self.channels or (self.name,)
        return tuple((names,) if isinstance(names, str) else (names[0], names[2]) for names in channels)

    def file_unit_of(self, channel: str) -> str:
        """Return the unit that the description states for a channel, whose name has any case; or ""."""
        units = {name.strip().casefold(): unit for name, unit in self.channel_units}
        return units.get(channel.strip().casefold()) or self.file_unit


def specs_of_description(description: Description) -> tuple[SignalSpec, ...]:
    """Return the modalities of a description, in its order; those without a rate have that of its grid."""
    specs = []
    for name, signal in description.signals.items():
        grid = description.window.grid
        rate = signal.rate or (1 / grid if grid else 0.0)
        specs.append(
            SignalSpec(
                name,
                signal.unit,
                rate,
                signal.channels,
                signal.range,
                signal.scale,
                signal.file_unit,
                "" if signal.rate else signal.within,
                description.place(f"signals.{name}.unit"),
                tuple(signal.channel_units.items()),
            )
        )
    return tuple(specs)
