"""Whether a recording is like those that a model was trained on; what is not is refused in one sentence."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from pathlib import Path

import numpy as np

from condi_core.run_files import ROSTER_FILE, read_roster
from condi_core.windows import Schema
from data_partitions import DataError
from data_partitions.recordings.edf_signals import EdfRecording
from data_partitions.signals.match import Match

USUAL_SHARE = 0.5  # of its training samples that a modality must have to count as usual
MIN_PRESENT_SHARE = 0.5  # of the usual modalities, and of their samples
# Variables in steps of a minute or more are measured when they are needed: a file may lack most of them.
SPARSE_STEP_SECONDS = 60.0
MAX_SHARE_OUT_OF_RANGE = 0.2
MIN_SAMPLES_OUT_OF_RANGE = 10
MAX_SAMPLES_AT_ENDS = 10  # of a channel, that its own minimum and maximum explain
STATE_NAMES = "give a dataset.toml with their names in the files as --map, or a file of names as --local"


def usual_samples(run: Path, schema: Schema) -> dict[str, float]:
    """Return the samples per patch that each usual modality had in the training windows of a run.

    Where a run has no roster, such as a copy of its weights alone, all modalities of signals count as usual,
    and none of variables that are measured when they are needed.
    """
    per_patch = {m.name: float(m.samples_per_patch) for m in schema.modalities}
    sites = list(read_roster(run).values()) if (run / ROSTER_FILE).exists() else []
    counts, patches = np.zeros(len(per_patch)), 0
    for site in sites:
        counts += np.array(site["sums"], float)[:, 0]
        patches += site["manifest"]["windows"]["train"] * schema.patches
    if not patches:
        return {} if _is_sparse(schema) else per_patch
    shares = counts / patches / list(per_patch.values())
    return {
        name: samples * share
        for (name, samples), share in zip(per_patch.items(), shares, strict=True)
        if share >= USUAL_SHARE
    }


def _is_sparse(schema: Schema) -> bool:
    return schema.patch_seconds / schema.samples >= SPARSE_STEP_SECONDS


def require_usual_modalities(
    file: Path, schema: Schema, usual: Mapping[str, float], present: Collection[str], unknown: Sequence[str]
) -> None:
    """Raise DataError when a file lacks most of what the model was mostly trained on.

    `usual` is from `usual_samples`; `present` are the modalities that the file has, `unknown` its other
    channels.
    """
    absent = [name for name in usual if name not in present]
    if _is_sparse(schema):
        lacks_most = bool(usual) and len(absent) == len(usual)
    else:
        samples_present = sum(samples for name, samples in usual.items() if name in present)
        lacks_most = len(absent) > (1 - MIN_PRESENT_SHARE) * len(usual) or (
            samples_present < MIN_PRESENT_SHARE * sum(usual.values())
        )
    if lacks_most:
        other = f", and has {list_names(unknown)}, which the model does not know" if unknown else ""
        raise DataError(
            f"{file} lacks {list_names(absent)}, most of what the model was trained on{other}: "
            f"{STATE_NAMES}, or --allow-absent to go on without them"
        )


def require_known_channels(file: Path, schema: Schema, absent: Sequence[str], unknown: Sequence[str]) -> None:
    """Raise DataError when a channel that the model does not know could be a modality that the file lacks."""
    if absent and unknown:
        raise DataError(
            f"{file} has {list_names(unknown)}, which the model does not know (known are "
            f"{list_names(schema.names)}), and lacks {list_names(absent)}: if these are the same signals, "
            f"{STATE_NAMES}; if not, give --keep-unknown to leave them as they are"
        )


def require_plausible_values(file: Path, dropped: Mapping[str, int], observed: Mapping[str, int]) -> None:
    """Raise DataError when much of a modality is outside its plausible range.

    `dropped` counts the samples of each modality outside its range, `observed` all samples that the file has.
    """
    for name, number in dropped.items():
        if number >= MIN_SAMPLES_OUT_OF_RANGE and number > MAX_SHARE_OUT_OF_RANGE * observed[name]:
            raise DataError(
                f"{file}: {number} of {observed[name]} samples of {name} are outside its plausible range: "
                "check its unit, and state file-unit, scale or codes for missing values in a file for --local"
            )


def describe_dropped(schema: Schema, dropped: Iterable[int]) -> list[str]:
    """Say of each modality how many values were outside its plausible range, `(modality,)`."""
    sentences = []
    for modality, number in zip(schema.modalities, dropped, strict=True):
        if number:
            low, high = modality.range or (-np.inf, np.inf)
            limits = f"{low:g} to {high:g} {modality.unit}".strip()
            values = "value is" if number == 1 else "values are"
            sentences.append(f"{number} {values} outside the range of {modality.name}, {limits}: not used")
    return sentences


def describe_ends_of_range(match: Match) -> list[str]:
    """Say how many samples of the channels that are read are at the ends of an EDF file's digital range.

    Amplifiers leave channels there that are off or saturated. Files whose range is that of their data have
    some there as well, so that only more than `MAX_SAMPLES_AT_ENDS` are worth a sentence.
    """
    recording = match.recording
    if not isinstance(recording, EdfRecording) or recording.ends_missing:
        return []
    channels = sorted({channel for source in match.sources.values() for channel in source.channels})
    counts = {recording.channels[channel].name: recording.count_at_ends(channel) for channel in channels}
    return [
        f"{number} samples of {name} at the ends of its digital range count as measured: if the channel was "
        'off or saturated there, state ends-of-range = "missing" under [files] in a file for --local'
        for name, number in counts.items()
        if number > MAX_SAMPLES_AT_ENDS
    ]


def list_names(names: Sequence[str], limit: int = 8) -> str:
    """List the first names, and the number of the others."""
    more = f" and {len(names) - limit} more" if len(names) > limit else ""
    return ", ".join(names[:limit]) + more
