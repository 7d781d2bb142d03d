"""Measurements of stays from tables over time, signal by signal."""

from __future__ import annotations

import hashlib
from collections import defaultdict
from typing import NamedTuple

import numpy as np
import pandas as pd

from data_partitions.checks.channel_smells import codes_for_missing
from data_partitions.checks.guess.folder import sample_evenly
from data_partitions.checks.signal_statistics import SignalStatistics, measure_signal
from data_partitions.description.sections import Description
from data_partitions.errors import DataError
from data_partitions.events.channels import ChannelMap
from data_partitions.events.drops import Drops
from data_partitions.events.files import EventFile
from data_partitions.events.reading import EventReader, Recordings
from data_partitions.events.times import US_PER_SECOND
from data_partitions.preparation_log import ProgressCallback
from data_partitions.sources.described.meds_stays import subject_of
from data_partitions.sources.described.stays import Stays

MAX_FILES = 500  # of one stay each
MAX_EVENTS = 4_000_000  # of files with many stays
MIN_COMPARED_EVENTS = 10  # stays with fewer may be equal by chance


class SignalSample(NamedTuple):
    """The measurements of a signal: arrays `(event,)`."""

    stay: np.ndarray  # position of the stay
    seconds: np.ndarray  # time since the start of its windows
    values: np.ndarray  # in the unit of the description


class StaySample(NamedTuple):
    """Measurements of some stays."""

    stays: list[str]
    all_values: bool  # whether all measurements of these stays were read
    complete: bool  # whether these are also all stays
    signals: dict[str, SignalSample]  # measurements of each signal
    drops: Drops  # what was dropped, with counts
    rejected: list[str]  # sentences about files that cannot be read
    unreadable: int  # number of stays whose file cannot be read


def sample_stays(description: Description, stays: Stays, progress: ProgressCallback) -> StaySample:
    """Read the measurements of some stays: from files that are evenly spread, or from the start of one."""
    rejected: list[str] = []

    rejected_stays: set[str] = set()

    def reject(file: EventFile, fault: DataError) -> None:
        rejected.append(str(fault))
        rejected_stays.add(file.record)

    names = [listed.record for listed in stays.listing.recordings]
    files = list(stays.files)
    if all(file.record for file in files):
        wanted = set(names)
        of_stays = [file for file in files if file.record in wanted]
        files = sample_evenly(of_stays, MAX_FILES)
        chosen = {file.record for file in files}
        names = [name for name in names if name in chosen]
    drops = Drops()
    channels = ChannelMap(description.signals, patterns=description.files.format == "meds")
    reader = EventReader(description.files, channels, reject, drops)
    owners = names
    if description.files.format == "meds":  # files have subjects, which have stays
        owners = list(dict.fromkeys(map(subject_of, names)))
    parts: list[tuple[np.ndarray, ...]] = []
    count, done = 0, True
    signal_of = np.array([channel.signal for channel in channels.channels])
    for events in reader.read_events(files, Recordings(owners)):
        seconds = events.microseconds / US_PER_SECOND
        parts.append((events.recording, seconds, signal_of[events.channel], events.values))
        count += len(events.values)
        progress("reading values", min(count, MAX_EVENTS), MAX_EVENTS)
        if count >= MAX_EVENTS:
            done = False
            break
    recording, seconds, signal, values = (
        (np.concatenate(arrays) for arrays in zip(*parts, strict=True)) if parts else np.zeros((4, 0))
    )
    recording = recording.astype(int)
    if owners is not names:
        number = {owner: position for position, owner in enumerate(owners)}
        owner_of_stay = [number[subject_of(name)] for name in names]
        of_stay = pd.DataFrame({"owner": owner_of_stay, "stay": range(len(names))})
        pairs = pd.DataFrame({"owner": recording, "event": range(len(recording))}).merge(of_stay, on="owner")
        event, recording = pairs["event"].to_numpy(), pairs["stay"].to_numpy()
        seconds, signal, values = seconds[event], signal[event], values[event]
    times = stays.times.reindex(names)
    starts, ends = times["start"].to_numpy(float), times["end"].to_numpy(float)
    if owners is not names:
        inside = (seconds >= starts[recording]) & ~(seconds >= ends[recording])
        recording, seconds, signal, values = (x[inside] for x in (recording, seconds, signal, values))
    signals = {}
    for position, name in enumerate(description.signals):
        of_signal = signal == position
        index = recording[of_signal]
        signals[name] = SignalSample(index, seconds[of_signal] - starts[index], values[of_signal])
    complete = done and len(names) == len(stays.listing.recordings)
    return StaySample(names, done, complete, signals, drops, rejected, len(rejected_stays - {""}))


def measure_stays(
    sample: SignalSample, names: list[str], limits: tuple[float, float] | None
) -> list[tuple[str, SignalStatistics]]:
    """Return statistics of a signal for each stay in which it was measured.

    Codes for missing values are looked for in all stays together. As `width`, which is compared between
    stays, positive signals have their median.
    """
    if not len(sample.stay):
        return []
    codes = codes_for_missing(sample.values, min_count=3)
    order = np.argsort(sample.stay, kind="stable")
    stays, starts = np.unique(sample.stay[order], return_index=True)
    measured = []
    for stay, values in zip(stays, np.split(sample.values[order], starts[1:]), strict=True):
        statistics = measure_signal(values, None, limits)
        of_stay = {code: int((values == code).sum()) for code in codes if (values == code).any()}
        level = statistics.median if statistics.low > 0 else float("nan")
        measured.append(
            (names[stay], statistics._replace(codes=of_stay, flat=False, width=level, skewness=float("nan")))
        )
    return measured


def find_equal_stays(signals: dict[str, SignalSample], names: list[str]) -> list[list[str]]:
    """Return the names of stays with the same measurements, at least 10, in groups of two or more."""
    events = pd.concat(
        [
            pd.DataFrame({**sample._asdict(), "signal": number})
            for number, sample in enumerate(signals.values())
        ]
    ).sort_values(["stay", "signal", "seconds", "values"])
    groups: dict[bytes, list[str]] = defaultdict(list)
    for _, rows in events.groupby("stay"):
        if len(rows) >= MIN_COMPARED_EVENTS:
            content = rows[["signal", "seconds", "values"]].to_numpy(float).tobytes()
            groups[hashlib.sha256(content).digest()].append(names[int(rows["stay"].to_numpy()[0])])
    return [group for group in groups.values() if len(group) > 1]
