"""Say which sites have no windows in a split, or a single class: what follows from few patients."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

from data_partitions.manifest import Split
from data_partitions.preparation_log import PreparationLog
from data_partitions.sentences import count_noun, list_some

SPLIT_WORDS: dict[Split, str] = {"train": "training", "val": "validation", "test": "test"}
NAMES_SHOWN = 5


def note_small_sites(
    rows_by_site: Mapping[str, pd.DataFrame], schema: Mapping[str, Any], log: PreparationLog
) -> None:
    """Add a note for each split that sites lack, and for sites that are trained on a single class."""
    for split, word in SPLIT_WORDS.items():
        lacking = [site for site, rows in rows_by_site.items() if not (rows["split"] == split).any()]
        if lacking:
            log.note(f"No {word} windows: {_list_sites(lacking, rows_by_site)}.")
    if schema["task"] in ("binary", "single-label", "ordinal"):
        labels = list(schema["labels"])
        single = [site for site, rows in rows_by_site.items() if _has_one_class(rows, labels)]
        if single:
            log.note(f"A single class in training: {_list_sites(single, rows_by_site)}.")


def _has_one_class(rows: pd.DataFrame, labels: list[str]) -> bool:
    return len(rows.loc[rows["split"] == "train", labels].dropna().drop_duplicates()) == 1


def _list_sites(names: Sequence[str], rows_by_site: Mapping[str, pd.DataFrame]) -> str:
    return f"{list_some(names, NAMES_SHOWN)} ({len(names)} of {count_noun(len(rows_by_site), 'site')})"
