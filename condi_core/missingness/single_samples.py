"""Mechanisms that hide single samples."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from condi_core.missingness.dependence import (
    compute_driver_scores,
    compute_loss_probabilities,
    dependence_setting,
)
from condi_core.missingness.mechanism import Mechanism, Window
from condi_core.missingness.setting import number_or_zero, share


def mask_points(window: Window, settings: Mapping[str, Any], rng: np.random.Generator) -> np.ndarray:
    """Hide each sample independently, with equal probabilities or with ones that depend on values.

    Each modality loses its share of the observed samples.
    """
    uniform = rng.random(window.observed.shape, np.float32)  # 32 bits suffice, in half the time of 64
    if settings["points-mechanism"] == "mcar":
        return uniform < settings["points"]
    scores, shares = compute_driver_scores(window, settings["points"], settings["points-mechanism"], rng)
    return uniform < compute_loss_probabilities(scores, window.observed, shares)


def mask_subsampled(window: Window, settings: Mapping[str, Any], rng: np.random.Generator) -> np.ndarray:
    """Sample irregularly: retain a mean number of samples per patch of each modality.

    The number counts positions of the grid, whether observed or not. A modality of which half is observed
    therefore retains half as many observed samples.
    """
    retained = np.minimum(1, settings["subsample-to"] / np.asarray(window.samples_per_patch))
    return rng.random(window.observed.shape, np.float32) >= retained[:, None, None]


def _expected_subsampled_share(samples: float, samples_per_patch: Sequence[int]) -> float:
    return 1 - float(np.minimum(1, samples / np.asarray(samples_per_patch)).mean())


POINTS = Mechanism(
    share("points", "p_w: fraction of a modality's samples hidden one by one"),
    mask_points,
    stream="points",
    parameters=(dependence_setting("points-mechanism"),),
    label="{} of points",
)
SUBSAMPLE = Mechanism(
    number_or_zero(
        "subsample-to", "p_w: mean number of samples per patch that remain, at random times; 0: all"
    ),
    mask_subsampled,
    stream="thinning",
    expected_share=_expected_subsampled_share,
    label="{} samples per patch",
)
SINGLE_SAMPLE_MECHANISMS = (POINTS, SUBSAMPLE)
