"""What is doubtful about the measurements of stays, in sentences."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from itertools import combinations

import numpy as np
import pandas as pd

from data_partitions.checks.file_comparison import name_ratio, unlike_scales
from data_partitions.checks.finding import Finding, Level, format_share, list_reasons
from data_partitions.checks.leakage import find_early_ends
from data_partitions.checks.stay_sample import StaySample
from data_partitions.checks.text_findings import find_events
from data_partitions.checks.window_cells import WindowCells
from data_partitions.description.durations import format_seconds
from data_partitions.description.sections import Description
from data_partitions.events.spacing import describe_doubtful_times
from data_partitions.sentences import count_noun
from data_partitions.sources.described.stays import Stays

MIN_SEVERAL = 0.05  # of the cells with a value, that have several, to be said
MIN_VALUES_OF_SITE = 10
MIN_STAYS_WITH_SIGNAL = 0.01


def check_presence(description: Description, sample: StaySample) -> Iterator[Finding]:
    """Name signals without any value, and what was dropped while values were read."""
    for name, signal in sample.signals.items():
        stays = len(np.unique(signal.stay))
        if not stays:
            channels = ", ".join(str(channel) for channel in description.signals[name].channels or (name,))
            level: Level = "error" if sample.complete else "warning"
            yield Finding(level, f"signals.{name}", f"no value of {channels} in any stay that was read")
        elif stays < MIN_STAYS_WITH_SIGNAL * len(sample.stays):
            sentence = f"measured in only {stays} of {count_noun(len(sample.stays), 'stay')}"
            yield Finding("warning", f"signals.{name}", sentence)
        elif signal.values.min() == signal.values.max() and len(signal.values) > 20:
            yield Finding("fact", f"signals.{name}", f"always {signal.values[0]:g}")
    for sentence in sample.drops.describe():
        yield Finding("warning", "files", f"dropped, {sentence}")
    if sample.rejected:
        yield Finding("warning", "source", list_reasons(sample.rejected))


def check_times(description: Description, sample: StaySample) -> Iterator[Finding]:
    """Ask whether the unit of times is wrong, by which most steps of the grid are empty."""
    signals = list(sample.signals.values())
    stay = np.concatenate([signal.stay for signal in signals])
    seconds = np.concatenate([signal.seconds for signal in signals])
    if sentence := describe_doubtful_times(description, stay, seconds):
        yield Finding("warning", "files.time-unit", sentence)


def check_empty_windows(description: Description, cells: WindowCells) -> Iterator[Finding]:
    """Count the windows without a value."""
    total, empty = len(cells.filled), int((cells.filled.sum(axis=1) == 0).sum())
    if not empty:
        return
    sentence = f"{empty} of {count_noun(total, 'window')} ({format_share(empty / total)}) have no value"
    if description.window.least_observed > 0:
        yield Finding("fact", "window", f"{sentence} and are left out by least-observed")
    else:
        advice = "with least-observed = 0.01 in [window] they are left out"
        yield Finding("warning", "window", f"{sentence}: {advice}")


def check_cells(description: Description, sample: StaySample) -> Iterator[Finding]:
    """Say in which signals one step of the grid has several values."""
    several = {}
    for name, signal in sample.signals.items():
        step = step_of(description, name)
        cells = Counter(zip(signal.stay.tolist(), np.floor(signal.seconds / step).tolist(), strict=True))
        if not cells:
            continue
        share = sum(count > 1 for count in cells.values()) / len(cells)
        if share > MIN_SEVERAL:
            within = description.signals[name].within
            several[name] = f"{name} {format_share(share)} ({within} counts)"
    if several:
        listed = ", ".join(several.values())
        grid = format_seconds(description.window.grid) if description.window.grid else "their rate"
        yield Finding("fact", "window.grid", f"steps of {grid} with several values: {listed}")


def find_identical_signals(sample: StaySample) -> Iterator[Finding]:
    """Find signals with the same measurements in all stays."""
    for (one, first), (other, second) in combinations(sample.signals.items(), 2):
        if len(first.values) and all(map(np.array_equal, first, second)):
            yield Finding("warning", f"signals.{other}", f"the same measurements as {one} in all stays")


def step_of(description: Description, name: str) -> float:
    """Return the step of the grid of a signal in s."""
    rate = description.signals[name].rate
    return 1 / rate if rate else float(description.window.grid or 3600.0)


def check_sites(sample: StaySample, site_of: Mapping[str, str]) -> Iterator[Finding]:
    """Find sites where a signal has another scale than at the others."""
    sites = sorted({site_of[name] for name in sample.stays if site_of.get(name)})
    if len(sites) < 2:
        return
    position = np.array([sites.index(site_of[n]) if site_of.get(n) else -1 for n in sample.stays])
    for name, signal in sample.signals.items():
        medians = []
        for i in range(len(sites)):
            values = signal.values[position[signal.stay] == i]
            enough = len(values) >= MIN_VALUES_OF_SITE and values.min() > 0
            medians.append(float(np.median(values)) if enough else np.nan)
        for i, ratio in unlike_scales(medians).items():
            yield Finding(
                "warning",
                f"signals.{name}",
                f"{name_ratio(ratio)} at site {sites[i]} than at the others (median {medians[i]:.4g} and "
                f"{np.nanmedian(medians):.4g}): is it in another unit there?",
            )


def check_leakage(description: Description, stays: Stays, sample: StaySample) -> Iterator[Finding]:
    """Find out whether the ends of the stays, or of their measurements, tell the outcome."""
    events = find_events(description, stays.listing.recordings)
    if events is None or description.task.after is not None:
        return
    names = [listed.record for listed in stays.listing.recordings]
    times = stays.times.reindex(names)
    ends = (times["end"] - times["start"]).to_numpy(float)
    if np.isnan(ends).all() and description.files.format != "meds":
        last = np.full(len(names), np.nan)
        for signal in sample.signals.values():
            of_signal = pd.Series(signal.seconds).groupby(signal.stay).max()
            of_signal.index = [sample.stays[position] for position in of_signal.index]
            last = np.fmax(last, of_signal.reindex(names).to_numpy(float))
        ends = last + float(description.window.grid or 0)
    yield from find_early_ends(ends, events, description.window.length)


def describe_sample(sample: StaySample, total: int) -> Iterator[Finding]:
    """Say of how many stays the values were read."""
    if not sample.complete:
        read = len(np.unique(np.concatenate([signal.stay for signal in sample.signals.values()])))
        yield Finding("fact", "files", f"values of {read} of {count_noun(total, 'stay')} were read")
