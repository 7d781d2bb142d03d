"""Mechanisms that hide stretches of consecutive samples.

If no whole number of stretches covers the share of time exactly, the number is rounded at random, so that the
share is met on average as far as stretches fit.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np

from condi_core.missingness.dependence import compute_driver_scores, dependence_setting
from condi_core.missingness.mechanism import Mechanism, Window, round_at_random
from condi_core.missingness.setting import positive_count, positive_number, share

CANDIDATE_ARRANGEMENTS = 16  # random arrangements of gaps, of which values select one


def mask_gaps(window: Window, settings: Mapping[str, Any], rng: np.random.Generator) -> np.ndarray:
    """Hide stretches of `gap-patches` patches of each modality, which start at any sample.

    The share is a share of the modality's time, whether observed or not. If gaps depend on values, the
    arrangement that hides the highest values is selected from several random ones.
    """
    fraction, patches = settings["gaps"], settings["gap-patches"]
    missing = np.zeros(window.observed.shape, bool)
    scores, shares = None, np.full(len(missing), fraction)
    if settings["gaps-mechanism"] != "mcar":
        scores, shares = compute_driver_scores(window, fraction, settings["gaps-mechanism"], rng)
        scores = np.broadcast_to(scores, missing.shape)
    for m, rate in enumerate(window.samples_per_patch):
        score = None if scores is None else scores[m, :, :rate].ravel()
        time = _place_stretches(window.patches * rate, patches * rate, shares[m], rng, score)
        missing[m, :, :rate] = time.reshape(-1, rate)
    return missing


def mask_bursts(window: Window, settings: Mapping[str, Any], rng: np.random.Generator) -> np.ndarray:
    """Hide bursts of random length, with mean `burst-patches` patches, of each modality.

    This is the two-state chain of Gilbert (Bell System Technical Journal 1960), started in its stationary
    distribution: the state is drawn again at random times and does not change in between. The mean length is
    at least that of independent samples, 1 / (1 - share) samples.
    """
    fraction, patches = settings["bursts"], settings["burst-patches"]
    missing = np.zeros(window.observed.shape, bool)
    for m, rate in enumerate(window.samples_per_patch):
        redraw = rng.random(window.patches * rate, np.float32) < 1 / max(1.0, patches * rate * (1 - fraction))
        redraw[0] = True
        states = rng.random(redraw.sum(), np.float32) < fraction
        missing[m, :, :rate] = states[redraw.cumsum() - 1].reshape(-1, rate)
    return missing


def mask_blackout(window: Window, settings: Mapping[str, Any], rng: np.random.Generator) -> np.ndarray:
    """Hide stretches of all modalities at the same times, which start at any sample of the fastest modality.

    A slower modality loses the samples whose instants are in a stretch.
    """
    missing = np.zeros(window.observed.shape, bool)
    fastest = max(window.samples_per_patch)
    time = _place_stretches(
        window.patches * fastest, settings["gap-patches"] * fastest, settings["blackout"], rng
    )
    for m, rate in enumerate(window.samples_per_patch):
        instants = np.arange(window.patches * rate) * fastest // rate
        missing[m, :, :rate] = time[instants].reshape(-1, rate)
    return missing


def _place_stretches(
    length: int, gap: int, fraction: float, rng: np.random.Generator, score: np.ndarray | None = None
) -> np.ndarray:
    """Place stretches of `gap` samples that do not overlap, bool `(length,)`.

    With a score, the arrangement with the highest total score in its stretches is selected from several
    random ones.
    """
    gap = min(gap, length)
    n = min(round_at_random(fraction * length / gap, rng), length // gap)
    free = length - n * gap
    if score is None:
        # Every arrangement of n gaps is equally likely: choose their positions among n gaps and the free
        # samples between them.
        positions = np.sort(rng.choice(free + n, n, replace=False))
        starts = positions + np.arange(n) * (gap - 1)
    else:
        starts = np.sort(rng.integers(0, free + 1, (CANDIDATE_ARRANGEMENTS, n))) + np.arange(n) * gap
        cumulative = np.concatenate([[0], score.cumsum()])
        scores = (cumulative[starts + gap] - cumulative[starts]).sum(1)
        starts = starts[scores.round(6).argmax()]  # rounded, so that the last bits do not decide a tie
    time = np.zeros(length, bool)
    time[(starts[:, None] + np.arange(gap)).ravel()] = True
    return time


GAP_PATCHES = positive_count("gap-patches", 5, "length of a stretch in patches, also of a blackout")
GAPS = Mechanism(
    share("gaps", "p_w: fraction of a modality's time hidden in stretches"),
    mask_gaps,
    stream="gaps",
    parameters=(dependence_setting("gaps-mechanism"), GAP_PATCHES),
    label="{} in gaps",
)
BURSTS = Mechanism(
    share("bursts", "p_w: fraction of a modality's time hidden in bursts of random length"),
    mask_bursts,
    stream="bursts",
    parameters=(positive_number("burst-patches", 2.0, "mean length of a burst in patches"),),
    label="{} in bursts",
)
BLACKOUT = Mechanism(
    share("blackout", "p_w: fraction of time hidden in stretches of all modalities at once"),
    mask_blackout,
    stream="blackout",
    parameters=(GAP_PATCHES,),
    label="{} in blackouts",
)
STRETCH_MECHANISMS = (GAPS, BURSTS, BLACKOUT)
