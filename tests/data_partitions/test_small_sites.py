import numpy as np
import pandas as pd

from data_partitions.preparation_log import PreparationLog
from data_partitions.small_sites import note_small_sites


def site(splits, labels):
    return pd.DataFrame({"split": splits, "died": np.array(labels, float)})


def test_sites_without_a_split_or_with_one_class_are_counted_and_named():
    sites = {
        "a": site(["train", "train", "val", "test"], [0, 1, 0, 0]),
        "b": site(["train", "train", "val"], [0, 0, 1]),
        **{str(i): site(["train"], [np.nan]) for i in range(6)},
    }
    log = PreparationLog()
    note_small_sites(sites, {"task": "binary", "labels": ["died"]}, log)
    assert log.notes == [
        "No validation windows: 0, 1, 2, 3, 4 and 1 more (6 of 8 sites).",
        "No test windows: b, 0, 1, 2, 3 and 2 more (7 of 8 sites).",
        "A single class in training: b (1 of 8 sites).",
    ]


def test_complete_sites_and_tasks_without_classes_have_no_notes():
    complete = {"a": site(["train", "train", "val", "test"], [0, 1, 0, 0])}
    numbers = {"a": site(["train", "val", "test"], [2.5, 0, 0])}
    log = PreparationLog()
    note_small_sites(complete, {"task": "binary", "labels": ["died"]}, log)
    note_small_sites(numbers, {"task": "regression", "labels": ["died"]}, log)
    assert not log.notes
