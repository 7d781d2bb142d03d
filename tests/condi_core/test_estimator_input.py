"""Arrays and data frames as `Imputer` takes them: what is refused, and how a patch is chosen."""

import numpy as np
import pandas as pd
import pytest

from condi_core.estimator_input import read_input
from condi_core.estimator_settings import make_schema

SERIES = np.random.default_rng(0).standard_normal((3, 4, 60))
FRAME = pd.DataFrame(
    SERIES.transpose(0, 2, 1).reshape(-1, 4),
    index=pd.MultiIndex.from_product([[f"stay {i}" for i in range(3)], range(60)], names=["stay", "time"]),
    columns=list("abcd"),
)


def test_names_of_windows_are_those_of_the_index_in_its_order():
    read = read_input(FRAME.rename({"stay 0": 2, "stay 1": 1, "stay 2": "x"}))
    assert read.record_ids.tolist() == ["2", "1", "x"] and read.names == ("a", "b", "c", "d")
    np.testing.assert_array_equal(read.values, SERIES)


def test_columns_of_numbers_may_have_any_type_and_are_completed():
    frame = (
        FRAME.loc["stay 0"]
        .assign(a=FRAME["a"].loc["stay 0"].astype(object), b=True, c=3)
        .astype({"c": "Int8"})
    )
    frame.iloc[0, 0] = None
    frame.iloc[1, 2] = pd.NA
    read = read_input(frame)
    completed = read.restore(np.full(read.values.shape, 0.25))
    assert completed.iloc[0, 0] == completed.iloc[1, 2] == 0.25
    assert completed["b"].dtype == bool and completed["c"].dtype == "Float64"
    assert (completed["c"].drop(1) == 3).all()


@pytest.mark.parametrize("length, patch", [(1000, 10), (500, 10), (60, 1), (48, 1), (100, 2), (997, 1)])
def test_a_patch_divides_the_window_and_leaves_forty_or_has_one_sample(length, patch):
    assert make_schema(read_input(np.zeros((1, 2, length))), None).shape == (2, length // patch, patch)


@pytest.mark.parametrize(
    "x, message",
    [
        (np.zeros(60), r"\(channel, time\) for one window, got shape \(60,\)"),
        (np.zeros((0, 4, 60)), "give at least one window"),
        ([["a", "b"]], "cannot become floats"),
        (SERIES + 1j, "Complex data not supported"),
        (np.full((1, 4, 60), np.inf), "infinite values"),
        (np.full((1, 4, 60), -1e39), r"numbers up to 3.4e\+38, the largest of float32, got -1e\+39: give X"),
        ([[1.0, pd.NA]], "cannot become floats .float.. argument must be"),
        (FRAME.reset_index(), "got str in 'stay': put what identifies .*set_index"),
        (FRAME.assign(a=pd.Timestamp("2024-01-01")), r"got datetime64\[\w+\] in 'a': .*set_index"),
        (FRAME.assign(b="1.5"), "expected numbers in all columns, got str in 'b'.* convert .* astype"),
        (FRAME[[]], "a data frame with a column per channel, got none"),
        ({1: FRAME.loc["stay 0"], "1": FRAME.loc["stay 1"]}, "windows with different names, got '1' twice"),
        (FRAME.rename({"stay 0": 1, "stay 1": "1"}), "windows with different names, got '1' twice"),
        (FRAME.rename({"stay 0": np.nan}), "a name for each window, got a missing one: name it"),
        ({None: FRAME.loc["stay 0"]}, "a name for each window, got a missing one"),
        (FRAME.set_axis(list("aacd"), axis=1), "different names, got a, a, c, d: rename them"),
        (FRAME.iloc[:-1], "expected windows of one length, got 59 to 60 rows"),
        ({"one": SERIES[0]}, "list or dictionary of data frames"),
    ],
)
def test_what_is_no_windows_is_refused_with_what_to_do(x, message):
    with pytest.raises(ValueError, match=message):
        read_input(x)
