"""Sizes of classes and leakage are judged by counts."""

from collections import Counter

import numpy as np

from data_partitions.checks.finding import CheckReport, format_share
from data_partitions.checks.leakage import find_early_ends, find_telling_covariates
from data_partitions.checks.window_findings import find_small_classes
from data_partitions.sentences import count_noun, list_some


def test_classes_with_few_patients_are_named():
    patients = {
        "sinus": {"train": 70, "val": 15, "test": 15},
        "afib": {"train": 4, "val": 1, "test": 1},
        "pvc": {"train": 9},
    }
    subjects = Counter(f.subject for f in find_small_classes(patients))
    assert subjects == {"task afib": 2, "task pvc": 2}


def test_stays_with_the_event_that_end_early_are_counted():
    rng = np.random.default_rng(0)
    events = np.arange(400) < 40
    ends = rng.uniform(25, 200, 400) * 3600
    assert list(find_early_ends(ends, events, 24 * 3600)) == []
    ends[:20] = 10 * 3600
    (finding,) = find_early_ends(ends, events, 24 * 3600)
    assert finding.sentence.startswith("20 of 40 stays with the event end before the window does (50%)")


def test_a_covariate_that_is_the_outcome_in_other_words_is_named():
    rng = np.random.default_rng(0)
    events = np.arange(400) < 40
    covariates = {"age": rng.normal(60, 10, 400), "survival days": np.where(events, 5.0, -1.0)}
    (finding,) = find_telling_covariates(covariates, events)
    assert finding.subject == "covariates.survival days"


def test_the_report_ends_with_the_command_or_with_the_number_of_errors():
    report = CheckReport(command="condi prepare dataset.toml")
    report.add("fact", "files", "10 files")
    assert report.to_text().splitlines()[-1] == "ready: condi prepare dataset.toml"
    report.add("error", "task", "no class")
    assert report.to_text().splitlines()[-1] == "not ready: 1 error, 0 warnings"
    assert report.to_json()["errors"] == [{"subject": "task", "sentence": "no class"}]


def test_numbers_and_names_are_written_for_readers():
    assert [count_noun(n, "class") for n in (1, 2)] == ["1 class", "2 classes"]
    assert [count_noun(2, noun) for noun in ("entry", "stay", "patch")] == [
        "2 entries",
        "2 stays",
        "2 patches",
    ]
    assert list_some(["a", "b", "c", "d"]) == "a, b, c and 1 more"
    assert [format_share(s) for s in (0, 0.0001, 0.012, 0.5, 0.9999, 1)] == [
        "0%",
        "under 0.1%",
        "1.2%",
        "50%",
        "over 99.9%",
        "100%",
    ]
