"""The draft of a description of recordings with rates: WFDB, EDF and arrays."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path, PurePosixPath
from statistics import median
from typing import NamedTuple

from data_partitions.checks.guess.draft import NO_UNIT, Draft, section_name
from data_partitions.checks.guess.known_signals import ECG, find_known, is_ecg_lead, plain_name
from data_partitions.checks.guess.roles import safe_name
from data_partitions.description.durations import format_approximately, format_seconds
from data_partitions.errors import DataError
from data_partitions.recordings import open_recording
from data_partitions.recordings.recording import Channel
from data_partitions.sentences import count_noun, list_some

MAX_SIGNALS = 40
MIN_SHARE_OF_FILES = 0.02  # a rarer channel is named in a comment alone
LONG_SECONDS = 60.0  # shorter recordings are a window each
WINDOW_SECONDS = 10.0
REFERENCES = ("m1", "m2", "a1", "a2", "ref")


class FileHeader(NamedTuple):
    """The header of a recording."""

    file: Path
    channels: tuple[Channel, ...]  # its channels; none if it cannot be read
    seconds: float  # length of its longest channel in s
    error: str  # why it cannot be read, or ""


def read_header(file: Path) -> FileHeader:
    """Read the header of a recording."""
    try:
        recording = open_recording(file)
    except (DataError, OSError) as error:
        return FileHeader(file, (), 0.0, str(error))
    seconds = max((channel.samples / channel.rate for channel in recording.channels), default=0.0)
    return FileHeader(file, tuple(recording.channels), seconds, "")


class ChannelGroup(NamedTuple):
    """Channels of one name, however it is spelt, over all files."""

    spellings: Counter[str]
    units: Counter[str]
    rates: Counter[float]
    files: set[int]


def group_channels(headers: Sequence[FileHeader]) -> dict[str, ChannelGroup]:
    """Group the channels of files by their names without case, spaces and signs, the commonest first."""
    groups: dict[str, ChannelGroup] = defaultdict(
        lambda: ChannelGroup(Counter(), Counter(), Counter(), set())
    )
    for number, header in enumerate(headers):
        for channel in header.channels:
            group = groups[plain_name(channel.name) or channel.name]
            group.spellings[channel.name] += 1
            group.units[channel.unit] += 1
            group.rates[channel.rate] += 1
            group.files.add(number)
    return dict(groups)


def write_signals(draft: Draft, headers: Sequence[FileHeader]) -> None:
    """Write `[signals]`, one for each channel that is not rare."""
    readable = [header for header in headers if header.channels]
    groups = group_channels(readable)
    frequent = {
        form: group
        for form, group in groups.items()
        if len(group.files) >= MIN_SHARE_OF_FILES * len(readable)
    }
    # Channels that all files have stay in the order of the files.
    frequent = dict(sorted(frequent.items(), key=lambda item: -len(item[1].files)))
    first: dict[tuple[str, float, bool], str] = {}
    for group in list(frequent.values())[:MAX_SIGNALS]:
        name = safe_name(group.spellings.most_common(1)[0][0])
        section = section_name("signals", name)
        if len(group.files) < len(readable):
            draft.comment(section, f"In {len(group.files)} of {count_noun(len(readable), 'file')}.")
        unit, rate = group.units.most_common(1)[0][0], group.rates.most_common(1)[0][0]
        properties = (unit, rate, is_ecg_lead(name))
        if properties in first and len(group.rates) == len(group.units) == 1:
            draft.set(section, "like", first[properties])
        else:
            _write_properties(draft, section, name, group)
            first.setdefault(properties, name)
        draft.set(section, "channels", list(group.spellings))
    if rest := [group.spellings.most_common(1)[0][0] for group in groups.values()][MAX_SIGNALS:]:
        draft.comment(section, f"Left out, as there are more than {MAX_SIGNALS}: {list_some(rest, 20)}.")
    rare = [g.spellings.most_common(1)[0][0] for form, g in groups.items() if form not in frequent]
    if rare:
        draft.comment(section, f"Left out, as hardly any file has them: {list_some(rare, 20)}.")
    _comment_on_alternatives(draft, section, frequent, len(readable))
    if references := [name for name in first_names(frequent) if plain_name(name) in REFERENCES]:
        draft.comment(
            section,
            f"{', '.join(references)} may be reference electrodes: a derivation such as C3-M2 is written "
            'channels = [["C3", "-", "M2"]], without a signal of its own for the reference.',
        )


def first_names(groups: Mapping[str, ChannelGroup]) -> list[str]:
    """Return the commonest spelling of each group."""
    return [group.spellings.most_common(1)[0][0] for group in groups.values()]


def _write_properties(draft: Draft, section: str, name: str, group: ChannelGroup) -> None:
    unit, rate = group.units.most_common(1)[0][0], group.rates.most_common(1)[0][0]
    counts = list_some((f'"{text}" in {count}' for text, count in group.units.most_common()), 4)
    note = f"files have {counts}: they are converted to this one" if len(group.units) > 1 else ""
    ecg = is_ecg_lead(name) and unit.lower() in ("mv", "uv", "µv", "")
    if not unit:
        note = "the files state no unit: give it, with file-unit, or their numbers are taken as they are"
    draft.set(section, "unit", (ECG.unit if ecg else unit) if unit else NO_UNIT, note)
    rates = list_some((f"{value:g} Hz in {count}" for value, count in group.rates.most_common()), 4)
    note = f"files have {rates}: they are resampled to this one" if len(group.rates) > 1 else "Hz"
    draft.set(section, "rate", rate, note)
    known = next((each for each in find_known(name) if each.unit == unit), None)
    if ecg and unit:
        draft.set(section, "range", [ECG.low, ECG.high])
    elif known:
        draft.set(section, "range", [known.low, known.high], "by the name; correct it if that is wrong")
    else:
        draft.comment(
            section, "range = [lowest, highest] plausible value, in the unit above, is worth stating."
        )


def _comment_on_alternatives(draft: Draft, section: str, groups: dict[str, ChannelGroup], files: int) -> None:
    """Say which channels are never in one file together, and may be one signal under several names."""
    partial = [group for group in groups.values() if 0 < len(group.files) < files]
    names = ", ".join(group.spellings.most_common(1)[0][0] for group in partial)
    together = set().union(*(group.files for group in partial))
    if len(partial) > 1 and sum(len(group.files) for group in partial) == len(together):
        draft.comment(
            section,
            f"No file has two of {names}. If they are the same signal under several names, make one signal "
            "of them, with all names in channels.",
        )


def write_window(draft: Draft, headers: Sequence[FileHeader], epoch_seconds: float = 0.0) -> None:
    """Write `[window]` by the lengths of the recordings, or of the states that are annotated."""
    seconds = sorted(header.seconds for header in headers if header.channels)
    shortest, longest = seconds[0], seconds[-1]
    lengths = f"recordings are {format_approximately(shortest)} to {format_approximately(longest)} long"
    if longest - shortest < 1e-6 * longest:
        lengths = f"recordings are {format_approximately(longest)} long"
    if epoch_seconds:
        draft.set("window", "length", format_seconds(epoch_seconds), lengths)
        draft.set("window", "align", "annotations")
    elif median(seconds) <= LONG_SECONDS:
        common = Counter(round(value, 6) for value in seconds).most_common(1)[0][0]
        whole = common if common <= shortest else max(1.0, float(int(shortest)))
        draft.set("window", "length", format_seconds(whole), lengths)
    else:
        draft.set("window", "length", format_seconds(min(WINDOW_SECONDS, shortest)), lengths)
    draft.set("window", "patch", "auto")


def prefix_of_patient(names: Sequence[str]) -> str:
    """Return the sign between patient and recording in names such as "p01_n2"; "" if there is none."""
    for sign in ("_", "-"):
        parts = [name.split(sign) for name in names]
        if len({len(part) for part in parts}) == 1 and len(parts[0]) == 2:
            patients = Counter(part[0] for part in parts)
            if 1 < len(patients) < len(names):
                return sign
    return ""


def stem(path: str) -> str:
    """Return a path without the suffix of its name."""
    return PurePosixPath(path).with_suffix("").as_posix()
