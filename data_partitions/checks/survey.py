"""What all files state in their headers, and where each signal of the description is in them."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import NamedTuple

from data_partitions.checks.parallel import map_files
from data_partitions.description.sections import Description
from data_partitions.errors import DataError
from data_partitions.preparation_log import ProgressCallback
from data_partitions.recordings import open_recording
from data_partitions.signals.signal_map import SignalMap
from data_partitions.signals.signal_spec import specs_of_description
from data_partitions.sources.described.parts import opening_options


class RecordingFile(NamedTuple):
    """A file, or a recording in a file of several."""

    path: Path
    part: str = ""

    @property
    def name(self) -> str:
        """The name by which findings speak of it."""
        return self.part or self.path.name


class SignalPlace(NamedTuple):
    """The channel of a file that a signal is read from: its name, unit and rate (Hz)."""

    channel: str
    unit: str
    rate: float


class SurveyedFile(NamedTuple):
    """The header of a recording."""

    file: RecordingFile
    places: dict[str, SignalPlace]  # where each signal is that the file has
    channels: tuple[str, ...]  # names of all channels
    seconds: float  # length of the longest channel in s
    notes: tuple[str, ...]  # sentences on what is unusual, or converted
    signal_file: Path | None  # the file with the samples
    error: str  # why the file cannot be used, or ""


def survey_files(
    files: Sequence[RecordingFile], description: Description, progress: ProgressCallback
) -> list[SurveyedFile]:
    """Read the headers of all files, in several processes if there are many."""
    return map_files(partial(survey_file, description=description), files, "reading headers", progress)


def survey_file(file: RecordingFile, description: Description) -> SurveyedFile:
    """Read the header of a file."""
    names: tuple[str, ...] = ()
    try:
        recording = open_recording(file.path, **opening_options(description.files), record=file.part)
        names = tuple(channel.name for channel in recording.channels)
        match = map_signals(description).match(recording)
    except (DataError, OSError) as error:
        return SurveyedFile(file, {}, names, 0.0, (), None, str(error))
    places = {}
    for name, source in match.sources.items():
        channels = [recording.channels[position] for position in source.channels]
        text = " - ".join(channel.name for channel in channels)
        places[name] = SignalPlace(text, channels[0].unit, channels[0].rate)
    signal_file = max(recording.files, key=lambda path: (path.suffix != ".hea", path.stat().st_size))
    notes = (*recording.notes, *match.notes)
    return SurveyedFile(file, places, names, match.seconds, notes, signal_file, "")


def map_signals(description: Description) -> SignalMap:
    """Return the map by which files are prepared."""
    return SignalMap(specs_of_description(description), allow_other_rates=True)
