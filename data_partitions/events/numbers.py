"""Turn cells into numbers: decimal signs, texts that stand for a missing value, and what is no number."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import numpy as np

from data_partitions.events.drops import Drops
from data_partitions.sentences import quote

if TYPE_CHECKING:
    import pyarrow as pa

NOT_A_NUMBER = "cell", "not a number"
TOO_LARGE = "number", "infinite or beyond what 32 bits hold"
MAX_FLOAT32 = float(np.finfo(np.float32).max)


def read_numbers(
    cells: pa.Array, missing: Sequence[str], decimal: str, drops: Drops, locate: Callable[[int], str]
) -> np.ndarray:
    """Return texts or numbers as float64 `(row,)`, NaN where a cell is missing or, counted, not a number.

    `missing` are texts that stand for a missing value; a number among them does however it is written.
    `locate` says where a row is, and in which column.
    """
    import pandas as pd
    import pyarrow as pa
    import pyarrow.compute as pc

    if pa.types.is_dictionary(cells.type):
        cells = cells.dictionary_decode()
    if pa.types.is_string(cells.type) or pa.types.is_large_string(cells.type):
        texts = pc.utf8_trim_whitespace(cells)
        is_missing = pc.is_in(texts, pa.array(list(missing), texts.type))
        texts = written = pc.if_else(is_missing, None, texts)
        if decimal != ".":  # a point is perhaps between thousands: such a cell is not a number
            written = pc.replace_substring(pc.replace_substring(texts, ".", "?"), decimal, ".")
        try:
            numbers = np.asarray(pc.fill_null(written.cast(pa.float64()), np.nan))
        except ValueError:
            numbers = pd.to_numeric(written.to_pandas(), errors="coerce").to_numpy(float)
            wrong = np.flatnonzero(np.isnan(numbers) & np.asarray(pc.is_valid(texts)))
            wrong = wrong[[texts[int(i)].as_py().lower() not in ("", "nan") for i in wrong]]
            if len(wrong):
                first = int(wrong[0])
                drops.add(*NOT_A_NUMBER, len(wrong), lambda: f"{locate(first)}: {quote(texts[first])}")
    else:
        try:
            numbers = np.asarray(pc.fill_null(cells.cast(pa.float64(), safe=False), np.nan))
        except (ValueError, NotImplementedError):  # Arrow's errors: dates, lists
            drops.add(*NOT_A_NUMBER, len(cells) - cells.null_count, lambda: f"{locate(0)}: {quote(cells[0])}")
            return np.full(len(cells), np.nan)
    numbers = numbers.copy()
    codes = [code for code in map(_parse_code, missing) if code is not None]
    numbers[np.isin(numbers, codes)] = np.nan
    large = np.flatnonzero(np.abs(numbers) > MAX_FLOAT32)  # NaN is not
    if len(large):
        drops.add(*TOO_LARGE, len(large), lambda: f"{locate(int(large[0]))}: {numbers[large[0]]:g}")
        numbers[large] = np.nan
    return numbers


def _parse_code(text: str) -> float | None:
    try:
        return float(text)
    except ValueError:
        return None
