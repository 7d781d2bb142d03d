"""The draft of a description of samples without a stated rate: arrays, and tables without times."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from zipfile import BadZipFile

import numpy as np

from data_partitions.checks.guess.draft import NO_UNIT, Draft, section_name, start_draft
from data_partitions.checks.guess.folder import FolderFiles, name_in_pattern, pattern_of
from data_partitions.checks.guess.record_table import find_record_table
from data_partitions.checks.guess.roles import safe_name
from data_partitions.checks.guess.table_sections import (
    write_covariates,
    write_form,
    write_split,
    write_table,
    write_task,
)
from data_partitions.checks.guess.tables import ColumnFacts, sniff_table, sniff_tables
from data_partitions.errors import DataError
from data_partitions.sentences import count_noun

GUESSED_RATE = 100  # Hz
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
    size = dict(zip(axes, shape, strict=True))
    draft = start_draft(folder.source)
    draft.set("files", "format", "npy")
    draft.set("files", "path", pattern_of(paths, "record") if len(paths) > 1 else paths[0])
    shapes = ", ".join(f"{key} {array.shape}".strip() for key, array in arrays.items())
    draft.comment("files", f"{paths[0]}: {shapes}.")
    draft.set("files", "axes", " ".join(axes), f"of {shape}")
    if name:
        draft.set("files", "values", name)
    ids = next((key for key, array in arrays.items() if array.shape == (size.get("record"),)), "")
    if ids:
        draft.set("files", "records", ids)
    names = next((key for key, array in arrays.items() if _are_names(array, size.get("channel"))), "")
    if names:
        draft.set("files", "names", names)
        channels = [str(text) for text in arrays[names]]
    else:
        channels = [f"channel {i + 1}" for i in range(size.get("channel", 1))]
        draft.set("files", "channel-names", channels, "give their names in the order of the array")
    records = [str(text) for text in arrays[ids]] if ids else _names_of(paths)
    return _finish(draft, folder, records, channels, size["time"], ())


def guess_sampled_tables(folder: FolderFiles, paths: Sequence[str]) -> str:
    """Draft a description of tables whose rows are samples at a rate; "" if they have other columns."""
    table = sniff_table(folder.source / paths[0])
    if not all(facts.kind == "number" for facts in table.columns.values()):
        return ""
    draft = start_draft(folder.source)
    draft.set("files", "format", "csv" if table.path.suffix not in (".parquet", ".pq") else "parquet")
    draft.set("files", "path", pattern_of(paths, "record"))
    draft.comment("files", "No column has times, so that rows are taken as samples at a rate.")
    write_form(draft, "files", table.written)
    return _finish(draft, folder, _names_of(paths), list(table.columns), len(table.rows), paths)


def _names_of(paths: Sequence[str]) -> list[str]:
    end = pattern_of(paths, "record").rpartition("}")[2]
    return [name_in_pattern(path, end) for path in paths]


def _finish(
    draft: Draft,
    folder: FolderFiles,
    records: Sequence[str],
    channels: Sequence[str],
    samples: int,
    exclude: Sequence[str],
) -> str:
    """Write what does not depend on the format of the files."""
    draft.set("files", "rate", GUESSED_RATE, "Hz: a guess, as nothing states it: correct it here and below")
    tables = sniff_tables(folder, exclude)
    chosen = find_record_table(tables, records)
    columns: Mapping[str, ColumnFacts] = {}
    if chosen:
        draft.rename_field("record", chosen.record)
        columns = write_table(draft, chosen, folder.source, tables).columns
    else:
        draft.comment("table", "Each recording counts as a patient: name a table if one patient has several.")
    seconds = min(10.0, samples / GUESSED_RATE)
    draft.set(
        "window", "length", f"{seconds:g} s", f"the first recording has {count_noun(samples, 'sample')}"
    )
    draft.set("window", "patch", "auto")
    for i, channel in enumerate(channels):
        section = section_name("signals", safe_name(channel))
        if i:
            draft.set(section, "like", safe_name(channels[0]))
        else:
            draft.set(section, "unit", NO_UNIT, "nothing states the unit: give it")
            draft.set(section, "rate", GUESSED_RATE, "Hz")
        if safe_name(channel) != channel:
            draft.set(section, "channels", [channel])
    write_task(draft, columns)
    write_split(draft, columns)
    write_covariates(draft, columns)
    return draft.to_toml()


def _read_shapes(path: Path) -> dict[str, np.ndarray]:
    try:
        content = np.load(path, allow_pickle=False, mmap_mode="r" if path.suffix.lower() == ".npy" else None)
        arrays = {key: content[key] for key in content.files} if hasattr(content, "files") else {"": content}
    except (ValueError, OSError, EOFError, BadZipFile):  # also objects, which are not read
        raise DataError(f"{path} is not a readable file of number arrays (.npy or .npz)") from None
    if not arrays:
        raise DataError(f"{path} has no arrays")
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


def _are_names(array: np.ndarray, channels: int | None) -> bool:
    return array.dtype.kind in "US" and array.shape == (channels,)
