"""Which modalities sites have: those that were selected, as far as their records have them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from data_partitions.errors import DataError
from data_partitions.manifest import Manifest
from data_partitions.preparation_log import PreparationLog
from data_partitions.windows_table import count_windows


def find_present(site: str, rows: pd.DataFrame, selected: Sequence[str]) -> set[str]:
    """Return the selected modalities that the records of a site have; DataError if there are none."""
    if "modalities" not in rows:
        return set(selected)
    measured = {name for names in set(rows["modalities"]) for name in names}
    if not measured & set(selected):
        raise DataError(
            f'site "{site}" has none of {", ".join(selected)}: it has {", ".join(sorted(measured))}'
        )
    return measured & set(selected)


def make_manifest(
    schema: Mapping[str, Any], site: str, rows: pd.DataFrame, present: set[str], made_by: str
) -> Manifest:
    """Return the manifest of a site."""
    modalities = [{**m, "present": m["name"] in present} for m in schema["modalities"]]
    fields = {**schema, "modalities": modalities, "windows": count_windows(rows)}
    return Manifest(site=site, made_by=made_by, **fields)


def drop_absent(
    schema: dict[str, Any],
    present: Sequence[set[str]],
    windows: Iterator[np.ndarray | None],
    log: PreparationLog,
) -> tuple[dict[str, Any], Iterator[np.ndarray | None]]:
    """Return schema and windows without the modalities that no site has, which no run could learn."""
    anywhere = set().union(*present)
    positions = [i for i, m in enumerate(schema["modalities"]) if m["name"] in anywhere]
    modalities = [schema["modalities"][i] for i in positions]
    absent = [m["name"] for m in schema["modalities"] if m["name"] not in anywhere]
    if not absent:
        return schema, windows
    log.note(f"No site has {', '.join(absent)}: the windows are without.")
    samples = max(m["samples_per_patch"] for m in modalities)
    reduced = (None if window is None else window[positions, :, :samples] for window in windows)
    return {**schema, "modalities": modalities}, reduced
