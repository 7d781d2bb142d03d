"""Open a site's files as recordings of a model's modalities; refuse those that the model was not made for."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from client_app.inference.file_origins import FileOrigins
from client_app.inference.suitability import (
    describe_dropped,
    describe_ends_of_range,
    list_names,
    require_known_channels,
    require_plausible_values,
    require_usual_modalities,
)
from condi_core.windows import Schema
from data_partitions import DataError
from data_partitions.description.sections import WindowSection
from data_partitions.recordings import list_records, open_recording
from data_partitions.recordings.recording import Recording
from data_partitions.signals.match import Match
from data_partitions.signals.resampling import has_same_rate
from data_partitions.signals.signal_map import SignalMap
from data_partitions.signals.signal_spec import SignalSpec
from data_partitions.sources.described.windows import cut_recording

MAX_REASON_LENGTH = 500
NOMINAL_RATE_TOLERANCE = 1e-3


class ReadingOptions(NamedTuple):
    """What the user allows.

    Attributes
    ----------
    resample : files of other rates
    keep_unknown : files with channels that the model does not know, which lack some of its modalities
    allow_absent : files without most of what the model was trained on
    """

    resample: bool = False
    keep_unknown: bool = False
    allow_absent: bool = False


class OpenedRecording:
    """A recording whose channels were found to be modalities of a model, with what is unusual in it.

    `copy_notes` is what is not completed in a copy of it.
    """

    def __init__(self, recording: Recording, match: Match, schema: Schema, notes: list[str]) -> None:
        self.recording = recording
        self.match = match
        self.schema = schema
        self.notes = notes
        self.copy_notes = _describe_copy(match)

    @property
    def is_resampled(self) -> bool:
        """Whether a modality has another rate in the file than in the model."""
        return any(not has_same_rate(s.rate, s.spec.rate) for s in self.match.sources.values())

    def require_plausible_values(self, observed: Mapping[str, int]) -> None:
        """Note which values were dropped or are doubtful, once the recording was read.

        `observed` counts the samples of each modality that were not dropped; DataError when too many were.
        """
        dropped = {name: number for name, number in self.match.dropped.items() if number}
        total = {name: number + observed[name] for name, number in dropped.items()}
        require_plausible_values(self.recording.file, dropped, total)
        self.notes += describe_dropped(self.schema, [dropped.get(name, 0) for name in self.schema.names])
        self.notes += describe_ends_of_range(self.match)


class RecordingReader:
    """Opens files as recordings of a model's modalities.

    Parameters
    ----------
    schema : Schema
        Of the model.
    specs : tuple of SignalSpec
        Its modalities, and their names and units in files.
    usual : mapping
        Samples per patch of the modalities that training windows usually had, as from `usual_samples`.
    file_options : mapping
        How files are written, as `open_recording` takes it.
    options : ReadingOptions
    states_names : bool
        Whether the site has stated the names of its channels: then unknown channels are none of the model's.
    window : WindowSection or None
        How recordings are cut into windows to predict; None for successive windows, of which the last may
        reach beyond the end of the recording.
    pattern : str
        Pattern of the files of the site; "" if it is not stated.
    read_covariates : callable
        Returns what `read_file_covariates` does.
    find_tables : callable
        Returns the files of the site that are not recordings.
    find_origins : callable
        Returns where the windows of recordings start.
    """

    def __init__(
        self,
        schema: Schema,
        specs: tuple[SignalSpec, ...],
        usual: Mapping[str, float],
        file_options: Mapping[str, Any],
        options: ReadingOptions,
        states_names: bool,
        window: WindowSection | None,
        pattern: str,
        read_covariates: Callable[[], Mapping[tuple[Path, str], np.ndarray]],
        find_tables: Callable[[], list[Path]],
        find_origins: Callable[[], FileOrigins],
    ) -> None:
        self.pattern = pattern
        self._find_origins = find_origins
        self.find_tables = find_tables
        self.read_covariates = read_covariates
        self._window = window
        self._schema = schema
        self._usual = usual
        self._file_options = file_options
        self._options = options
        self._states_names = states_names
        # Whether unknown channels are harmless is decided below, where what is absent is known.
        self._map = SignalMap(specs, options.resample or bool(schema.description))

    @cached_property
    def _origins(self) -> FileOrigins:
        return self._find_origins()

    @property
    def settings_hash(self) -> str:
        """Hash of the settings on which the values that are read depend."""
        text = repr((self._map, sorted(self._file_options.items())))
        return hashlib.sha256(text.encode()).hexdigest()

    def list_records(self, file: Path) -> list[str]:
        """List the names of the recordings in a file; [""] for a single one."""
        return list_records(file, **self._file_options)

    def open(self, file: Path, record: str = "") -> OpenedRecording:
        """Open a file; DataError when it cannot be read or is not what the model was made for."""
        recording = open_recording(file, **{**self._file_options, "record": record})
        match = self._map.match(recording)
        if not self._options.resample:
            _require_enough_rate(file, match)
        if not self._options.allow_absent:
            require_usual_modalities(file, self._schema, self._usual, match.modalities, match.unknown)
        if not (self._options.keep_unknown or self._states_names):
            require_known_channels(file, self._schema, match.absent, match.unknown)
        notes = [*recording.notes, *match.notes, *_describe_channels(match)]
        return OpenedRecording(recording, match, self._schema, notes)

    def window_starts(self, opened: OpenedRecording, part: str = "") -> np.ndarray:
        """Return where windows to predict start (s): as in training, but at least one.

        `part` is the name of the recording in a file of several.
        """
        seconds, record = opened.match.seconds, opened.recording.file.stem
        length = self._schema.patches * self._schema.patch_seconds
        if self._window is None:
            return length * np.arange(max(1, np.ceil(seconds / length - 1e-9)))
        origin, notes = self._origins.find(opened.recording, part)
        opened.notes += notes
        cut = cut_recording(self._window, record, seconds, origin)
        if not len(cut.starts):
            return np.array([origin])
        if cut.seconds_cut_off:
            opened.notes.append(
                f"{cut.seconds_cut_off:g} s at its end are in no window, as windows are complete"
            )
        return cut.starts


def explain_failure(file: Path, error: Exception) -> str:
    """Return why a file could not be used, in one short sentence that names it."""
    reason = " ".join(str(error).split()) or type(error).__name__
    reason = reason.replace("in the description", "in a file for --local")
    if not isinstance(error, DataError | OSError):  # of a library, which may say only "0"
        reason = f"{type(error).__name__}: {reason}"
    if file.name not in reason:
        reason = f"{file} cannot be used ({reason})"
    return reason if len(reason) <= MAX_REASON_LENGTH else f"{reason[: MAX_REASON_LENGTH - 4]} ..."


def _require_enough_rate(file: Path, match: Match) -> None:
    for name, source in match.sources.items():
        if source.rate < source.spec.rate * (1 - NOMINAL_RATE_TOLERANCE):
            raise DataError(
                f"{file}: {name} is at {source.rate:g} Hz, but the model expects {source.spec.rate:g} Hz, "
                "which has detail that this rate lacks: give --resample to convert it nevertheless"
            )


def _describe_channels(match: Match) -> list[str]:
    sentences = [f"it lacks {list_names(match.absent)}"] if match.absent else []
    if match.unknown:
        sentences.append(f"channels that the model does not know are not read: {list_names(match.unknown)}")
    return sentences


def _describe_copy(match: Match) -> list[str]:
    sentences = []
    if match.unknown:
        sentences.append("channels that are not read are unchanged in the completed copy")
    if match.differences:
        sentences.append(f"differences of channels are not completed: {list_names(match.differences)}")
    return sentences
