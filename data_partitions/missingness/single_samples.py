"""Mechanisms that take samples one by one."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from data_partitions.missingness.dependence import dependence_setting, driver_scores, logistic_probabilities
from data_partitions.missingness.mechanism import Mechanism, Window
from data_partitions.missingness.setting import number_or_zero, share


def mask_points(window: Window, settings: Mapping[str, Any], rng: np.random.Generator) -> np.ndarray:
    """Every sample is lost by itself, with the same probability or one that depends on values.

    Each modality loses its share of the observed samples.
    """
    uniform = rng.random(window.observed.shape, np.float32)  # 32 bits a sample are plenty and twice as quick
    if settings["points-mechanism"] == "mcar":
        return uniform < settings["points"]
    scores, shares = driver_scores(window, settings["points"], settings["points-mechanism"], rng)
    return uniform < logistic_probabilities(scores, window.observed, shares)


def mask_subsampled(window: Window, settings: Mapping[str, Any], rng: np.random.Generator) -> np.ndarray:
    """Irregular sampling: on average so many samples per patch remain of each modality's grid.

    It is counted on the grid: what was never measured stays empty, so that of a modality of which half is
    observed, half as many samples remain.
    """
    retained = np.minimum(1, settings["subsample-to"] / np.asarray(window.samples_per_patch))
    return rng.random(window.observed.shape, np.float32) >= retained[:, None, None]


def _subsampled_share(samples: float, samples_per_patch: Sequence[int]) -> float:
    return 1 - float(np.minimum(1, samples / np.asarray(samples_per_patch)).mean())


POINTS = Mechanism(
    share("points", "p_w: fraction of a modality's samples hidden one by one"),
    mask_points,
    stream="points",
    parameters=(dependence_setting("points-mechanism"),),
)
SUBSAMPLE = Mechanism(
    number_or_zero(
        "subsample-to", "p_w: mean number of samples per patch that remain, at random times; 0: all"
    ),
    mask_subsampled,
    stream="thinning",
    expected_share=_subsampled_share,
)
