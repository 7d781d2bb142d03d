"""What windows the files become: counts by split and class, their tensor, and the time of phase 1."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import NamedTuple

import numpy as np
import pandas as pd

from data_partitions.checks.finding import Finding
from data_partitions.description.durations import format_approximately, format_seconds
from data_partitions.description.patches import plan_patches
from data_partitions.description.sections import Description
from data_partitions.manifest import SPLITS, Split
from data_partitions.sentences import count_noun
from data_partitions.table import Table, Value

MIN_TRAIN_WINDOWS = 10
MIN_TRAIN_PATIENTS = 10
MIN_TEST_PATIENTS = 10  # with fewer, a score of a class changes by more than 0.1 with one patient
# The defaults of phase 1 in pyproject.toml.
ROUNDS, STEPS, BATCH, CROP_PATCHES, DRAWS_FACTOR = 3, 20, 8, 50, 2.0
TOKEN_SAMPLES, MAX_TOKEN_PATCHES = 16, 8
# By benchmarks/imputer.py on one core; see docs/results.md.
TOKENS_PER_SECOND = 21_000
SECONDS_PER_ESTIMATE_CELL = 4.3e-7  # a cell is a pair of modalities at one sample


class PhaseTime(NamedTuple):
    """Seconds on one core: of the training at this site, and of the scoring of its windows."""

    training: float
    scoring: float


def tabulate_windows(index: pd.DataFrame, labels: tuple[str, ...], kind: str) -> Table:
    """Make a table of windows, recordings and patients per split, and of the windows of each class."""
    rows: list[list[Value]] = []
    parts = [index[index["split"] == split] for split in SPLITS]
    rows.append(["windows", *(len(part) for part in parts)])
    rows.append(["recordings", *(part["recording_id"].nunique() for part in parts)])
    rows.append(["patients", *(part["patient_id"].nunique() for part in parts)])
    if kind == "regression":
        rows.append([f"median {labels[0]}", *(float(part[labels[0]].median()) for part in parts)])
    elif kind != "none":
        rows += [[label, *(int((part[label] == 1).sum()) for part in parts)] for label in labels]
        rows.append(["without a label", *(int(part[labels[0]].isna().sum()) for part in parts)])
    return Table("Windows", ["", *SPLITS], rows)


def check_windows(index: pd.DataFrame, labels: tuple[str, ...], kind: str) -> Iterator[Finding]:
    """Judge the numbers of windows and of patients with each class."""
    train = index[index["split"] == "train"]
    if not len(train):
        yield Finding("warning", "split", "no window in train: nothing can be learned here")
    elif len(train) < MIN_TRAIN_WINDOWS:
        yield Finding("warning", "split", f"only {count_noun(len(train), 'window')} in training")
    for split in ("val", "test"):
        if not (index["split"] == split).any():
            yield Finding("warning", "split", f"no window in {split}: nothing is scored there")
    if kind in ("none", "regression"):
        return
    patients = {
        label: {
            split: index[(index["split"] == split) & (index[label] == 1)]["patient_id"].nunique()
            for split in SPLITS
        }
        for label in labels
    }
    if kind == "binary":
        without = index[index[labels[0]] == 0]
        patients[f"not {labels[0]}"] = {
            split: without[without["split"] == split]["patient_id"].nunique() for split in SPLITS
        }
    yield from find_small_classes(patients)


def find_small_classes(patients: Mapping[str, Mapping[Split, int]]) -> Iterator[Finding]:
    """Name the classes with too few patients in a split; `patients` has the numbers of each class."""
    for name, by_split in patients.items():
        train, val, test = (by_split.get(split, 0) for split in SPLITS)
        faults = []
        if train == 0:
            faults.append("no patient with it in training: it cannot be learned here")
        elif train < MIN_TRAIN_PATIENTS:
            faults.append(f"only {count_noun(train, 'patient')} with it in training")
        if test == 0:
            faults.append("no patient with it in test: it is not scored here")
        elif test < MIN_TEST_PATIENTS:
            faults.append(f"only {count_noun(test, 'patient')} with it in test: its score here is coarse")
        if val == 0 and train and test:
            faults.append("no patient with it in validation: no threshold can be chosen here")
        yield from (Finding("warning", f"task {name}", sentence) for sentence in faults)


def describe_tensor(description: Description) -> Finding:
    """Say what tensor a window becomes."""
    plan = plan_patches(description)
    samples = sorted(set(plan.samples.values()))
    per_patch = f"{samples[-1]}" if len(samples) == 1 else f"up to {samples[-1]}"
    counts = [count_noun(len(plan.samples), "signal"), count_noun(plan.patches, "patch")]
    shape = f"({', '.join(counts)}, {per_patch} {'sample' if per_patch == '1' else 'samples'})"
    total = count_noun(plan.patches * sum(plan.samples.values()), "number")
    return Finding(
        "fact",
        "window",
        f"a window of {format_seconds(description.window.length)} becomes {shape} = {total}; "
        f"a patch is {format_seconds(plan.seconds)}",
    )


def describe_time(description: Description, index: pd.DataFrame) -> Finding:
    """Say about how long phase 1 takes with the default settings."""
    scored = int(index["split"].isin(("val", "test")).sum())
    time = estimate_phase_1(description, scored)
    return Finding(
        "fact",
        "phase 1",
        f"about {format_approximately(max(time.training, 1))} of training with the default settings, and "
        f"{format_approximately(max(time.scoring, 1))} to score {count_noun(scored, 'window')}, on one core",
    )


def estimate_phase_1(description: Description, scored: int) -> PhaseTime:
    """Estimate the time of phase 1 by the numbers of tokens, of samples, and of windows that are scored."""
    plan = plan_patches(description)
    modalities, patches = len(plan.samples), min(plan.patches, CROP_PATCHES)
    longest = max(plan.samples.values())
    token_patches = int(np.clip(round(TOKEN_SAMPLES / longest), 1, MAX_TOKEN_PATCHES))
    tokens = modalities * -(-patches // token_patches)
    estimate = SECONDS_PER_ESTIMATE_CELL * modalities**2 * plan.patches * longest
    windows = ROUNDS * STEPS * BATCH
    training = windows * (tokens / TOKENS_PER_SECOND + estimate)
    return PhaseTime(training, scored * DRAWS_FACTOR * estimate)
