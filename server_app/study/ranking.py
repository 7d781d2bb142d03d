"""The best of several methods, and those whose difference from it may be chance."""

from __future__ import annotations

import math
import operator
from collections.abc import Mapping, Sequence

from data_partitions.table import Mark
from server_app.artifacts.estimates import Estimate, combine
from server_app.study.statistics import (
    Interval,
    mean_sd,
    patient_interval,
    student_interval,
)

DIGITS = 3  # of scores in tables

SeedScores = Mapping[int, Estimate]  # by seed


def shared_scores(methods: Sequence[SeedScores]) -> list[dict[int, Estimate]]:
    """Return the scores over the seeds that all methods share: seeds differ in how hard they are.

    A method whose mean is undefined has none, and does not restrict the others.
    """
    are_known = [not math.isnan(_mean(scores)) for scores in methods]
    seeds = [set(scores) for scores, is_known in zip(methods, are_known, strict=True) if is_known]
    shared = set.intersection(*seeds) if seeds else set()
    return [
        {seed: score for seed, score in scores.items() if is_known and seed in shared}
        for scores, is_known in zip(methods, are_known, strict=True)
    ]


def rank_marks(methods: Sequence[SeedScores], higher_is_better: bool | None = True) -> list[Mark]:
    """Mark the best of several methods and those that tie with it, over the seeds that all of them share.

    A method ties with the best when a 95 % interval of their difference includes 0. There are up to two:
    Student's over seeds, and one over test patients. Without either, only means that are equal as tables
    print them tie, because nothing shows that more digits mean anything.

    Parameters
    ----------
    methods : the scores of each method over seeds
    higher_is_better : whether the best has the highest mean; None where a certain value is best

    Returns
    -------
    "best", "tie" or "" for each method; all "" where no order is defined or no seed is shared.
    """
    shared = shared_scores(methods)
    means = [_mean(scores) for scores in shared]
    known = [mean for mean in means if not math.isnan(mean)]
    if not known or higher_is_better is None:
        return [""] * len(methods)
    top = max(known) if higher_is_better else min(known)
    best = shared[means.index(top)]
    marks: list[Mark] = []
    for mean, scores in zip(means, shared, strict=True):
        if math.isnan(mean):
            marks.append("")
        elif mean == top:
            marks.append("best")
        else:
            marks.append("tie" if _ties(best, scores, mean, top) else "")
    return marks


def difference_intervals(first: SeedScores, second: SeedScores) -> list[Interval]:
    """Return the 95 % intervals of a difference, over seeds and over patients, where they can be computed."""
    differences = [combine(operator.sub, first[seed], second[seed]) for seed in first if seed in second]
    over_seeds = student_interval([difference.value for difference in differences])
    return [i for i in (over_seeds, patient_interval(differences)) if not math.isnan(i[0])]


def _ties(best: SeedScores, scores: SeedScores, mean: float, top: float) -> bool:
    if intervals := difference_intervals(best, scores):
        return any(low <= 0 <= high for low, high in intervals)
    return f"{mean:.{DIGITS}f}" == f"{top:.{DIGITS}f}"


def _mean(scores: SeedScores) -> float:
    return mean_sd([score.value for score in scores.values()])[0]
