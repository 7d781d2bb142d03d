"""What the headers of all files say, in sentences."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence

from data_partitions.checks.finding import Finding, Level, format_share, list_reasons
from data_partitions.checks.signal_statistics import SignalStatistics
from data_partitions.checks.survey import SurveyedFile
from data_partitions.description.sections import Description
from data_partitions.inspection import format_rate
from data_partitions.sentences import count_noun, find_nearest, list_some, quote_some
from data_partitions.table import Table, Value

MIN_FILE_SHARE = 0.5  # of the files that should have a signal
MAX_NAMES = 12


def check_survey(description: Description, files: Sequence[SurveyedFile]) -> Iterator[Finding]:
    """Count the files that cannot be used, signals that are absent, and what is converted."""
    broken = [file for file in files if file.error]
    usable = [file for file in files if not file.error]
    if broken:
        level: Level = "warning" if usable else "error"
        reasons = list_reasons([_shorten(file) for file in broken])
        sentence = f"{len(broken)} of {count_noun(len(files), 'file')} cannot be used: {reasons}"
        yield Finding(level, "source", sentence)
    if not usable:
        return
    channels = Counter(name for file in usable for name in file.channels)
    read = {place.channel for file in usable for place in file.places.values()}
    for name in description.signals:
        having = [file for file in usable if name in file.places]
        if not having:
            near = find_nearest(name, [channel for channel in channels if channel not in read])
            hint = f'did you mean "{near}"?' if near else f"they have {quote_some(channels, MAX_NAMES)}"
            yield Finding("error", f"signals.{name}", f"no file has any of its channels: {hint}")
        elif len(having) < MIN_FILE_SHARE * len(usable):
            yield Finding(
                "warning",
                f"signals.{name}",
                f"only {len(having)} of {count_noun(len(usable), 'file')} have it; it is imputed in others",
            )
    unread = {name: count for name, count in channels.items() if name not in read}
    parts = {name for channel in read if " - " in channel for name in channel.split(" - ")}
    if rest := [f"{name} ({count})" for name, count in unread.items() if name not in parts]:
        sentence = f"channels that no signal reads, with their files: {list_some(rest, 20)}"
        yield Finding("fact", "files", sentence)
    notes: dict[str, int] = Counter(note for file in usable for note in file.notes)
    for note, count in notes.items():
        yield Finding("fact", "files", f"{count_noun(count, 'file')}: {note}")


def _shorten(file: SurveyedFile) -> str:
    """Write the error with the name of the file instead of its path."""
    return file.error.replace(str(file.file.path.parent) + "/", "")


def tabulate_signals(
    description: Description,
    places: Mapping[str, Mapping[tuple[str, float | None], int]],
    total: int,
    statistics: Mapping[str, Sequence[tuple[str, SignalStatistics]]],
    observed: Mapping[str, float],
    noun: str,
) -> Table:
    """Make a table with a row for each signal.

    `places` has the number of files of each unit and rate, `total` that of all files, `statistics` those of
    the recordings that were sampled, and `observed` the share of the samples that is not missing.
    """
    rows: list[list[Value]] = []
    for name in description.signals:
        measured = [statistics_ for _, statistics_ in statistics.get(name, ())]
        kinds = places.get(name, {})
        units: dict[str, int] = defaultdict(int)
        rates: dict[str, int] = defaultdict(int)
        for (unit, rate), count in kinds.items():
            units[unit or "none"] += count
            if rate:
                rates[format_rate(rate)] += count
        values = sum(s.observed for s in measured)
        outside = sum(s.outside * s.observed for s in measured)
        rows.append(
            [
                name,
                f"{sum(kinds.values())} of {total}",
                _list_counts(units),
                _list_counts(rates),
                format_share(observed[name]) if name in observed else None,
                format_share(outside / values) if values else None,
                sum(s.flat for s in measured),
                sum(s.clipped > 0 for s in measured),
            ]
        )
    columns = ["signal", f"{noun}s", "unit", "rate", "observed", "out of range", "flat", "clipped"]
    if not any(row[3] for row in rows):  # measurements at any times
        rows = [[*row[:3], *row[4:6]] for row in rows]
        columns = [*columns[:3], *columns[4:6]]
    return Table("Signals", columns, rows)


def _list_counts(counts: Mapping[str, int]) -> str:
    if len(counts) == 1:
        return next(iter(counts))
    return ", ".join(f"{name} ({count})" for name, count in counts.items())
