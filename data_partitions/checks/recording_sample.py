"""Samples of recordings: some stretches of each, measured signal by signal and between signals."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from itertools import combinations
from typing import Any, NamedTuple

import numpy as np

from data_partitions.checks.parallel import map_files
from data_partitions.checks.signal_statistics import SignalStatistics, measure_signal
from data_partitions.checks.survey import RecordingFile, map_signals
from data_partitions.checks.twelve_leads import LIMB_LEADS, LimbLeadCheck, arms_exchanged, check_limb_leads
from data_partitions.description.sections import Description
from data_partitions.errors import DataError
from data_partitions.preparation_log import ProgressCallback
from data_partitions.recordings import open_recording
from data_partitions.signals.match import Match
from data_partitions.sources.described.parts import opening_options

MAX_RECORDINGS = 300  # that are sampled
STRETCHES = 6
STRETCH_SECONDS = 10.0
MIN_SAMPLED = 40  # recordings, for which other processes are started
# What an ECG of adults is high, as the width of its middle 99.8 % in mV.
ECG_WIDTHS = (0.3, 5.0)
GAINS = (1000.0, 200.0, 100.0, 400.0, 500.0, 10000.0)  # digital steps per mV that are usual


class RecordingSample(NamedTuple):
    """What was measured in some stretches of a recording."""

    file: RecordingFile
    signals: dict[str, SignalStatistics]  # statistics of the signals that it has
    # Correlation of each two signals of the description, float `(signal, signal)`; NaN where unknown.
    correlations: np.ndarray
    identical: tuple[tuple[str, str], ...] = ()  # pairs of signals with the same samples
    leads: LimbLeadCheck | None = None  # whether the limb leads agree; None if there are none
    # The same for the numbers in the file, before gains are applied; None if these are not known.
    digital_leads: LimbLeadCheck | None = None
    digital_gain: float = 0.0  # digital steps per mV that these numbers seem to have; 0 if unknown
    arms_exchanged: bool = False  # whether lead I is opposite to V6
    error: str = ""  # why it cannot be read, or ""


def sample_recordings(
    files: Sequence[RecordingFile], description: Description, progress: ProgressCallback
) -> list[RecordingSample]:
    """Read and measure stretches of recordings, in several processes."""
    work = partial(sample_recording, description=description)
    return map_files(work, files, "reading samples", progress, MIN_SAMPLED)


def sample_recording(file: RecordingFile, description: Description) -> RecordingSample:
    """Read and measure stretches of a recording."""
    count = len(description.signals)
    empty = np.full((count, count), np.nan, np.float32)
    try:
        recording = open_recording(file.path, **opening_options(description.files), record=file.part)
        match = map_signals(description).match(recording)
        stretches = {name: read_stretches(match, name) for name in match.sources}
    except (DataError, OSError) as error:
        return RecordingSample(file, {}, empty, error=str(error))
    rates = {name: source.rate for name, source in match.sources.items()}
    # A missing sample separates the stretches, so that no run of equal samples goes across.
    gap = np.array([np.nan])
    values = {
        name: np.concatenate([part for stretch in parts for part in (stretch, gap)][:-1])
        for name, parts in stretches.items()
    }
    signals = {}
    for name, samples in values.items():
        statistics = measure_signal(samples, rates[name], description.signals[name].range)
        signals[name] = statistics._replace(samples=sum(map(len, stretches[name])))
    varies = [name for name, statistics in signals.items() if statistics.observed and not statistics.flat]
    alike = {name: values[name] for name in varies if rates[name] == rates[varies[0]]}
    leads = {lead: alike[name] for name in alike if (lead := _lead_of(name))}
    first, v6 = leads.get("I"), alike.get(next((name for name in alike if name.casefold() == "v6"), ""))
    digital = _to_digital(recording, match, leads, alike)
    return RecordingSample(
        file,
        signals,
        _correlate(list(description.signals), alike),
        tuple(
            (one, other)
            for one, other in combinations(alike, 2)
            if np.array_equal(alike[one], alike[other], equal_nan=True)
        ),
        check_limb_leads(leads),
        check_limb_leads(digital) if digital else None,
        _guess_gain(digital),
        first is not None and v6 is not None and arms_exchanged(first, v6),
    )


def read_stretches(match: Match, name: str) -> list[np.ndarray]:
    """Read stretches of a signal in the unit of the description, also what is outside its range."""
    source = match.sources[name]
    total = min(match.recording.channels[position].samples for position in source.channels)
    length = round(STRETCH_SECONDS * source.rate)
    if total <= STRETCHES * length:
        bounds = [(0, total)]
    else:
        starts = np.linspace(0, total - length, STRETCHES).round().astype(int)
        bounds = [(int(start), int(start) + length) for start in starts]
    stretches = []
    for first, last in bounds:
        channels = [
            conversion.apply(match.recording.read(position, first, last) * source.spec.scale)
            for position, conversion in zip(source.channels, source.conversions, strict=True)
        ]
        stretches.append(channels[0] if len(channels) == 1 else channels[0] - channels[1])
    return stretches


def _lead_of(name: str) -> str:
    form = name.strip().casefold()
    return next((lead for lead in LIMB_LEADS if lead.casefold() == form), "")


def _correlate(names: list[str], values: dict[str, np.ndarray]) -> np.ndarray:
    """Return the correlations of signals of one rate, over the samples that all of them have."""
    correlations = np.full((len(names), len(names)), np.nan, np.float32)
    if len(values) < 2:
        return correlations
    length = min(map(len, values.values()))
    stacked = np.stack([samples[:length] for samples in values.values()])
    stacked = stacked[:, ~np.isnan(stacked).any(axis=0)]
    if stacked.shape[1] < 100:
        return correlations
    positions = [names.index(name) for name in values]
    with np.errstate(invalid="ignore", divide="ignore"):
        correlations[np.ix_(positions, positions)] = np.corrcoef(stacked)
    return correlations


def _to_digital(
    recording: Any, match: Match, leads: dict[str, np.ndarray], values: dict[str, np.ndarray]
) -> dict[str, np.ndarray]:
    """Return the limb leads of a WFDB record as the numbers in its file; none of other formats."""
    header = getattr(recording, "header", None)
    signals = getattr(header, "signals", None)
    if not leads or not signals or not hasattr(signals[0], "gain"):
        return {}
    digital = {}
    for name in values:
        if lead := _lead_of(name):
            source = match.sources[name]
            if len(source.channels) != 1:
                return {}
            line = signals[source.channels[0]]
            physical = source.conversions[0].invert(values[name]) / source.spec.scale
            digital[lead] = physical * line.gain + line.baseline
    return digital


def _guess_gain(digital: dict[str, np.ndarray]) -> float:
    """Return the usual gain by which the limb leads are as high as an ECG is; 0 if none makes them so."""
    if not digital:
        return 0.0
    widths = [np.diff(np.nanpercentile(samples, (0.1, 99.9)))[0] for samples in digital.values()]
    median = float(np.median(widths))
    return next((gain for gain in GAINS if ECG_WIDTHS[0] <= median / gain <= ECG_WIDTHS[1]), 0.0)
