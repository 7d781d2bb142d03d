"""What `Imputer` takes as X, arrays or data frames: to (n, channel, time), and back to its own type."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from pandas.api.types import is_bool_dtype, is_complex_dtype, is_integer_dtype, is_numeric_dtype

from condi_core.window_arrays import read_floats


class EstimatorInput(NamedTuple):
    """Windows of one length.

    Attributes
    ----------
    values : float64 or float32 (n, channel, time), NaN where nothing was observed
    record_ids : str (n,), "0", "1", ... where X has no names for its windows
    names : of the channels; None where X has none
    restore : completes X by an array of the shape of `values`, and returns what has the type of X
    """

    values: np.ndarray
    record_ids: np.ndarray
    names: tuple[str, ...] | None
    restore: Callable[[np.ndarray], Any]


def read_input(x: Any, names: tuple[str, ...] | None = None) -> EstimatorInput:
    """Read X.

    Parameters
    ----------
    x : array (n, channel, time) or (channel, time); or a data frame with a column per channel and a row per
        time, of one window, or of several by the first of two levels of its index; or a list or dictionary of
        data frames, one per window
    names : columns to read, in this order; by default all

    Raises
    ------
    ValueError
        X is something else. The message says how to get there.
    """
    if hasattr(x, "toarray"):  # one of the kinds of scipy is also a mapping
        raise ValueError("sparse input is not supported: give X.toarray(), with NaN for missing values")
    if isinstance(x, pd.DataFrame):
        return _read_frame(x, names)
    if isinstance(x, Mapping) or (isinstance(x, list | tuple) and x and isinstance(x[0], pd.DataFrame)):
        return _read_frames(x, names)
    return _read_array(x)


def _read_array(x: Any) -> EstimatorInput:
    array = read_floats(x, "X")
    if array.ndim not in (2, 3) or not array.size:
        raise ValueError(
            f"expected X as an array (n, channel, time), or (channel, time) for one window, got shape "
            f"{array.shape}: give at least one window, as a row of samples per channel"
        )
    _require_finite(array)
    values = array.reshape(-1, *array.shape[-2:])

    def restore(completed: np.ndarray) -> np.ndarray:
        return np.where(np.isnan(array), completed.reshape(array.shape), array).astype(array.dtype)

    return EstimatorInput(values, np.arange(len(values)).astype(str), None, restore)


def _read_frame(frame: pd.DataFrame, names: tuple[str, ...] | None) -> EstimatorInput:
    columns = tuple(map(str, frame.columns))
    if not columns:
        raise ValueError("expected a data frame with a column per channel, got none: give at least one")
    if len(set(columns)) < len(columns):
        raise ValueError(f"expected columns with different names, got {', '.join(columns)}: rename them")
    if names is not None and set(columns) != set(names):
        raise ValueError(f"expected the columns {', '.join(names)}, got {', '.join(columns)}")
    _require_numbers(frame)
    table = frame.to_numpy(np.float64, na_value=np.nan)
    _require_finite(table)
    if frame.index.nlevels > 2 or not len(frame):
        raise ValueError(
            f"expected a data frame with rows and an index of one level (time) or two (window, time), got "
            f"{len(frame)} rows and {frame.index.nlevels} levels"
        )
    rows = {"0": np.arange(len(frame))}
    if frame.index.nlevels == 2:
        codes, labels = pd.factorize(frame.index.get_level_values(0), use_na_sentinel=False)
        rows = {name: np.flatnonzero(codes == code) for code, name in enumerate(_name_windows(labels))}
    lengths = {len(positions) for positions in rows.values()}
    if len(lengths) > 1:
        raise ValueError(
            f"expected windows of one length, got {min(lengths)} to {max(lengths)} rows: give each window "
            "the same times by reindex, which fills up with NaN"
        )
    order = [columns.index(name) for name in names or columns]
    positions = np.stack(list(rows.values()))  # (window, time)

    def restore(completed: np.ndarray) -> pd.DataFrame:
        filled = table.copy()
        filled[positions[:, None, :], np.array(order)[None, :, None]] = completed
        restored = frame.astype(dict.fromkeys(_find_incomplete_integers(frame), "Float64"))
        return restored.where(frame.notna(), pd.DataFrame(filled, frame.index, frame.columns))

    values = table[positions][:, :, order].transpose(0, 2, 1)
    return EstimatorInput(values, np.array(list(rows)), names or columns, restore)


def _read_frames(frames: Any, names: tuple[str, ...] | None) -> EstimatorInput:
    items = dict(frames) if isinstance(frames, Mapping) else dict(enumerate(frames))
    if not items or not all(isinstance(f, pd.DataFrame) and f.index.nlevels == 1 for f in items.values()):
        raise ValueError(
            "expected a list or dictionary of data frames, one per window, with an index of one level (time)"
        )
    keys = _name_windows(items)
    inner = read_input(pd.concat(list(items.values()), keys=keys), names)

    def restore(completed: np.ndarray) -> Any:
        frame = inner.restore(completed)
        parts = {key: frame.loc[name] for key, name in zip(items, keys, strict=True)}
        return parts if isinstance(frames, Mapping) else type(frames)(parts.values())

    return inner._replace(restore=restore)


def _name_windows(labels: Iterable[Any]) -> list[str]:
    """Write the labels of windows as text, by which they must differ."""
    labels = list(labels)
    if any(map(pd.isna, labels)):
        raise ValueError("expected a name for each window, got a missing one: name it in the index")
    names = [str(label) for label in labels]
    if repeated := [name for name, count in Counter(names).items() if count > 1]:
        raise ValueError(f"expected windows with different names, got '{repeated[0]}' twice: rename them")
    return names


def _require_numbers(frame: pd.DataFrame) -> None:
    for name, kind in frame.infer_objects().dtypes.items():
        if not is_numeric_dtype(kind) or is_complex_dtype(kind):
            raise ValueError(
                f"expected numbers in all columns, got {kind} in '{name}': put what identifies a window and "
                "its times into the index, X.set_index(['window', 'time']), and convert signals by "
                "astype(float)"
            )


def _find_incomplete_integers(frame: pd.DataFrame) -> list[Any]:
    """List the columns with missing values whose type, of integers or bools, cannot hold a completed one."""
    return [
        name
        for (name, kind), has_missing in zip(frame.dtypes.items(), frame.isna().any(), strict=True)
        if has_missing and (is_integer_dtype(kind) or is_bool_dtype(kind))
    ]


def _require_finite(array: np.ndarray) -> None:
    if np.isinf(array).any():
        raise ValueError("X has infinite values: mark what was not observed by NaN")
    with np.errstate(over="ignore"):
        is_too_large = np.isinf(array.astype(np.float32))
    if is_too_large.any():
        raise ValueError(
            f"expected numbers up to {np.finfo(np.float32).max:.2g}, the largest of float32, got "
            f"{array[is_too_large][0]:.2g}: give X in a larger unit"
        )
