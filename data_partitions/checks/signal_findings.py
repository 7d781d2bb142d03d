"""What is doubtful about each signal over all recordings that were sampled, in sentences."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence

import numpy as np

from data_partitions.checks.file_comparison import (
    MIN_PAIRS,
    MIN_RATIO,
    name_ratio,
    opposite_channels,
    opposite_peaks,
    unlike_scales,
)
from data_partitions.checks.finding import Finding, Level, format_share
from data_partitions.checks.guess.known_signals import find_known, known_range
from data_partitions.checks.signal_statistics import SignalStatistics
from data_partitions.description.sections import Description
from data_partitions.sentences import count_noun, list_some
from data_partitions.signals.units import is_arbitrary

MIN_CLIPPED = 0.001  # of the samples of a file
MIN_CONSTANT = 0.02
MIN_OUTSIDE = 0.01  # of all values of a signal, for a warning
MIN_OUTSIDE_FACT = 0.001
# Of the recordings, by their medians, with values that are plausible in their unit and in another.
MAX_INSIDE_OWN, MIN_INSIDE_OTHER = 0.5, 0.9
# Stays of one signal that must differ by one factor: a level that is far from all others may be a disease.
MIN_UNLIKE_STAYS, MIN_UNLIKE_SHARE = 3, 0.01
MIN_RATIO_OF_STAYS = 8.0

# Name of a recording, and its statistics of one signal.
Measured = Sequence[tuple[str, SignalStatistics]]
Smells = Iterator[tuple[Level, str]]  # sentences


def find_signal_smells(
    description: Description, by_signal: Mapping[str, Measured], noun: str
) -> Iterator[Finding]:
    """Judge the signals one by one; `noun` is what recordings are called, "file" or "stay"."""
    smells = (_find_outside, _find_unit, _find_codes, _find_artefacts, _find_scale)
    for name, measured in by_signal.items():
        for smell in smells:
            for level, sentence in smell(description, name, measured, noun):
                yield Finding(level, f"signals.{name}", sentence)


def find_unscaled(description: Description, by_signal: Mapping[str, Measured]) -> Finding | None:
    """Return a warning if the numbers of WFDB files are read as they are, and no scale gives their unit."""
    signals = description.signals.values()
    if description.files.gains == "header" or any(s.scale != 1 or is_arbitrary(s.unit) for s in signals):
        return None
    highest = max((abs(s.high) for measured in by_signal.values() for _, s in measured), default=0)
    return Finding(
        "warning",
        "files.gains",
        f'with gains = "none" the numbers of the files, up to {highest:.6g}, count as '
        f"{next(iter(signals)).unit}: give the scale of each signal, such as scale = 0.001",
    )


def _find_outside(description: Description, name: str, measured: Measured, noun: str) -> Smells:
    signal = description.signals[name]
    outside = [(record, s) for record, s in measured if s.outside > 0]
    if not outside or signal.range is None:
        return
    observed = sum(s.observed for _, s in measured)
    share = sum(s.outside * s.observed for _, s in measured) / observed
    if share < MIN_OUTSIDE_FACT:  # the table shows it
        return
    low, high = min(s.low for _, s in outside), max(s.high for _, s in outside)
    extremes = [f"the lowest is {low:g}"] * (low < signal.range[0])
    extremes += [f"the highest is {high:g}"] * (high > signal.range[1])
    level: Level = "warning" if share > MIN_OUTSIDE else "fact"
    yield (
        level,
        f"{format_share(share)} of the values are outside {signal.range[0]:g} to {signal.range[1]:g} "
        f"{signal.unit} and count as missing ({', '.join(extremes)}), in {_count(outside, noun)}"
        + (". Is the unit of the files wrong, or the range?" if share > 0.5 else ""),
    )


def _find_unit(description: Description, name: str, measured: Measured, noun: str) -> Smells:
    """Ask whether values that are implausible in their unit are in another usual unit of the signal."""
    signal = description.signals[name]
    names = [name, *(str(channel) for channel in signal.channels or ())]
    known = next(filter(None, map(find_known, names)), [])
    medians = np.array([s.median for _, s in measured if s.observed])
    usual_range = next(filter(None, (known_range(usual, signal.unit) for usual in known)), None)
    if usual_range is None or not len(medians) or _share_inside(medians, *usual_range) > MAX_INSIDE_OWN:
        return
    for other in known:
        if known_range(other, signal.unit) != (other.low, other.high) and (
            _share_inside(medians, other.low, other.high) >= MIN_INSIDE_OTHER
        ):
            yield (
                "warning",
                f"values of about {np.median(medians):.4g} in {count_noun(len(medians), noun)} are usual in "
                f"{other.unit}, but not in {signal.unit}: is the unit wrong?",
            )
            return


def _share_inside(values: np.ndarray, low: float, high: float) -> float:
    return float(np.mean((values >= low) & (values <= high)))


def _find_codes(description: Description, name: str, measured: Measured, noun: str) -> Smells:
    section = description.signals[name]
    records: dict[float, list[str]] = defaultdict(list)
    counts: Counter[float] = Counter()
    for record, statistics in measured:
        for code, count in statistics.codes.items():
            records[code].append(record)
            counts[code] += count
    for code, having in records.items():
        dropped = section.range is not None and not section.range[0] <= code <= section.range[1]
        if dropped:
            advice = "it is outside the range and counts as missing"
        elif description.files.format in ("csv", "parquet", "npy"):
            advice = f'if so, add "{code:g}" to files.missing'
        else:
            advice = "if so, set a range that excludes it"
        yield (
            "fact" if dropped else "warning",
            f"{code:g} seems to stand for missing, as it is far from all other values: {counts[code]} times "
            f"in {count_noun(len(having), noun)} ({list_some(having)}); {advice}",
        )


def _find_artefacts(description: Description, name: str, measured: Measured, noun: str) -> Smells:
    """Name the recordings in which a signal is flat, cut off or filled with one value."""
    if flat := [(record, s) for record, s in measured if s.flat]:
        values = sorted({s.low for _, s in flat})
        at = f"at {values[0]:g}" if len(values) == 1 else "each at one value"
        yield "warning", f"flat in {_count(flat, noun)}, {at}: perhaps it was not connected"
    if clipped := [(record, s) for record, s in measured if s.clipped >= MIN_CLIPPED]:
        most = format_share(max(s.clipped for _, s in clipped))
        yield (
            "warning",
            f"cut off at its highest or lowest value in {_count(clipped, noun)}, up to {most} of the samples "
            "of one: the amplifier or the export was beyond its range",
        )
    if constant := [(record, s) for record, s in measured if s.constant >= MIN_CONSTANT and not s.flat]:
        value = Counter(s.constant_value for _, s in constant).most_common(1)[0][0]
        yield (
            "warning",
            f"the same value for 2 s and longer in {_count(constant, noun)}, mostly {value:g}: gaps may have "
            "been filled with it",
        )


def _find_scale(description: Description, name: str, measured: Measured, noun: str) -> Smells:
    scales = [s.width if not s.flat else np.nan for _, s in measured]
    groups: dict[str, list[str]] = defaultdict(list)
    is_waveform = noun == "file"
    min_ratio = MIN_RATIO if is_waveform else MIN_RATIO_OF_STAYS
    for position, ratio in unlike_scales(scales, min_ratio).items():
        groups[name_ratio(ratio)].append(measured[position][0])
    enough = 1 if is_waveform else max(MIN_UNLIKE_STAYS, MIN_UNLIKE_SHARE * len(measured))
    for words, records in groups.items():
        if len(records) < enough:
            continue
        yield (
            "warning",
            f"{words} than in the other {noun}s in {count_noun(len(records), noun)} ({list_some(records)}): "
            "is its unit or gain wrong there?",
        )


def find_opposite_signals(
    description: Description,
    records: Sequence[str],
    correlations: np.ndarray,
    by_signal: Mapping[str, Measured],
) -> Iterator[Finding]:
    """Find recordings in which a signal is upside down, by its correlations or else by its peaks."""
    names = list(description.signals)
    opposite: dict[str, list[str]] = defaultdict(list)
    for record, signal in opposite_channels(correlations):
        opposite[names[signal]].append(records[record])
    for name, having in opposite.items():
        yield Finding(
            "warning",
            f"signals.{name}",
            f"opposite to the other signals in {count_noun(len(having), 'file')} ({list_some(having)}), but "
            "not in the others: its polarity is perhaps reversed",
        )
    if len(names) > MIN_PAIRS:
        return
    for name, measured in by_signal.items():
        against = [measured[i][0] for i in opposite_peaks([s.skewness for _, s in measured])]
        if against:
            yield Finding(
                "warning",
                f"signals.{name}",
                f"its peaks point against those of the other files in {count_noun(len(against), 'file')} "
                f"({list_some(against)}): a reversed polarity, or a disease",
            )


def _count(measured: Measured, noun: str) -> str:
    return f"{count_noun(len(measured), noun)} ({list_some([record for record, _ in measured])})"
