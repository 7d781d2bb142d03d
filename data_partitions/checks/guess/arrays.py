"""The draft of a description of npy and npz arrays."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from data_partitions.checks.finding import count_noun, list_names
from data_partitions.checks.guess.draft import NO_UNIT, section_name, start_draft
from data_partitions.checks.guess.folder import FolderFiles, name_in_pattern, pattern_of
from data_partitions.checks.guess.table_sections import (
    find_record_table,
    write_covariates,
    write_split,
    write_table,
    write_task,
)
from data_partitions.checks.guess.tables import sniff_tables
from data_partitions.errors import DataError

MAX_CHANNELS = 64  # the axis with more entries is that of time


def guess_arrays(folder: FolderFiles) -> str:
    """Draft a description by the shapes of the first file's arrays; DataError if it has none of samples."""
    paths = folder.of_kind("npy")
    arrays = _read_shapes(folder.source / paths[0])
    name = max(arrays, key=lambda each: arrays[each].size)
    shape = arrays[name].shape
    axes = _guess_axes(shape)
    if not axes:
        raise DataError(
            f"{paths[0]} has an array of {shape}: expected samples over time, channels and recordings"
        )
    pattern = pattern_of(paths, "record") if len(paths) > 1 else paths[0]
    draft = start_draft(folder.source)
    draft.set("files", "format", "npy")
    draft.set("files", "path", pattern)
    draft.comment(
        "files", f"{paths[0]}: {', '.join(f'{key} {array.shape}' for key, array in arrays.items())}."
    )
    draft.set("files", "axes", " ".join(axes), f"of {shape}")
    if name:
        draft.set("files", "values", name)
    names = next((key for key, array in arrays.items() if _are_names(array, shape, axes)), "")
    channels = [str(text) for text in arrays[names]] if names else []
    if "record" in axes:
        ids = next((k for k, a in arrays.items() if a.shape == (shape[axes.index("record")],)), "")
        if ids:
            draft.set("files", "records", ids)
    if names:
        draft.set("files", "names", names)
    elif "channel" in axes:
        channels = [f"channel {i + 1}" for i in range(shape[axes.index("channel")])]
        draft.set("files", "channel-names", channels, "give their names in the order of the array")
    draft.set("files", "rate", 100, "Hz: a guess, nothing states it")
    records = [name_in_pattern(path, pattern.rpartition("}")[2]) for path in paths] if len(paths) > 1 else []
    if not records and "record" in axes and ids:
        records = [str(text) for text in arrays[ids]]
    tables = sniff_tables(folder)
    chosen = find_record_table(tables, records)
    if chosen:
        write_table(draft, chosen, folder.source, tables)
    else:
        draft.comment("table", "Each recording counts as a patient: name a table if one patient has several.")
    samples = shape[axes.index("time")]
    draft.set(
        "window",
        "length",
        f"{min(10.0, samples / 100):g} s",
        f"{count_noun(samples, 'sample')} at 100 Hz are more or less",
    )
    draft.set("window", "patch", "auto")
    for i, channel in enumerate(channels or ["channel 1"]):
        section = section_name("signals", channel)
        if i:
            draft.set(section, "like", channels[0])
        else:
            draft.set(section, "unit", NO_UNIT, "nothing states the unit: give it")
            draft.set(section, "rate", 100, "Hz: as above")
    write_task(draft, chosen)
    write_split(draft, chosen)
    write_covariates(draft, chosen)
    return draft.to_toml()


def _read_shapes(path: Path) -> dict[str, np.ndarray]:
    try:
        content = np.load(path, allow_pickle=False, mmap_mode="r" if path.suffix.lower() == ".npy" else None)
        arrays = {key: content[key] for key in content.files} if hasattr(content, "files") else {"": content}
    except (ValueError, OSError) as error:
        raise DataError(f"{path} cannot be read as arrays ({error})") from None
    if not arrays:
        raise DataError(f"{path} has no arrays {list_names([])}")
    return arrays


def _guess_axes(shape: tuple[int, ...]) -> list[str]:
    """Return the names of the axes: the longest is time, a short last or middle one the channels."""
    if len(shape) == 1:
        return ["time"]
    if len(shape) == 2:
        if max(shape) <= MAX_CHANNELS:
            return ["time", "channel"]
        return ["time", "channel"] if shape[0] >= shape[1] else ["channel", "time"]
    if len(shape) == 3:
        return ["record", "time", "channel"] if shape[1] >= shape[2] else ["record", "channel", "time"]
    return []


def _are_names(array: np.ndarray, shape: tuple[int, ...], axes: list[str]) -> bool:
    return array.dtype.kind in "US" and "channel" in axes and array.shape == (shape[axes.index("channel")],)
