"""Work in other processes gives the same results in the same order, with progress."""

import math

import pytest

from data_partitions.checks.parallel import map_files


@pytest.mark.parametrize("min_items", [1, 1000])
def test_results_are_in_order_and_progress_is_complete(min_items):
    seen = []
    items = list(range(50))
    results = map_files(
        math.sqrt,
        items,
        "square roots",
        lambda step, done, total: seen.append((step, done, total)),
        min_items,
    )
    assert results == [math.sqrt(item) for item in items]
    assert seen[0] == ("square roots", 1, 50)
    assert seen[-1] == ("square roots", 50, 50)
