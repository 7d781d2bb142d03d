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


def rank_marks(methods: Sequence[SeedScores], higher_is_better: bool = True) -> list[Mark]:
    """Mark the best of several methods and those that tie with it.

    A method ties with the best when a 95 % interval of their difference includes 0. There are up to two:
    Student's over the seeds that both have, and one over test patients. Without either, only
    means that are equal as tables print them tie, because nothing shows that more digits mean anything.

    Parameters
    ----------
    methods : the scores of each method over seeds
    higher_is_better : whether the best has the highest mean

    Returns
    -------
    "best", "tie" or "" for each method.
    """
    means = [mean_sd([score.value for score in scores.values()])[0] for scores in methods]
    known = [mean for mean in means if not math.isnan(mean)]
    if not known:
        return [""] * len(methods)
    top = max(known) if higher_is_better else min(known)
    best = methods[means.index(top)]
    marks: list[Mark] = []
    for mean, scores in zip(means, methods, strict=True):
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
