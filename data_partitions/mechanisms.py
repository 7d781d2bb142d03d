"""The ways in which samples get lost: each turns a stream of random numbers into a mask.

Masks are bool (modality, patch, sample), True = lost, whatever is observed; `rates` are the samples per
patch of each modality, what is beyond them is padding. Shares are expected ones, from 0 to 1.

What is lost may depend on nothing (missing completely at random), on `another` modality that the
mechanism spares (missing at random) or on the lost value `itself` (missing not at random), in the words
of Rubin (Biometrika 1976). Values decide by their standard score within the window, so that no other
window is needed to know what is lost of this one.
"""

from collections.abc import Sequence

import numpy as np

LOGIT_SLOPE = 2.0  # of the log odds of a loss, per standard deviation of the value that decides
CANDIDATE_ARRANGEMENTS = 16  # arrangements of gaps among which values choose


def points(
    values: np.ndarray, observed: np.ndarray, share: float, depends_on: str, rng: np.random.Generator
) -> np.ndarray:
    """Every sample by itself, by the same chance or by one that is logistic in what it depends on.

    The intercept is such that each modality loses its share of the observed samples, found by bisection
    as in Muzellec et al. (ICML 2020).
    """
    chance = rng.random(observed.shape, np.float32)  # 32 bits a sample are plenty and twice as quick
    if depends_on == "mcar":
        return chance < share
    score, shares = _driver_scores(values, observed, share, depends_on, rng)
    return chance < _logistic(score, observed, shares)


def gaps(
    values: np.ndarray,
    observed: np.ndarray,
    rates: Sequence[int],
    share: float,
    patches: int,
    depends_on: str,
    rng: np.random.Generator,
) -> np.ndarray:
    """Stretches of some patches, starting at any sample, in each modality by itself.

    A share of a modality's time, observed or not. It depends on values in that of some random
    arrangements of the stretches the one is taken that hides the highest values.
    """
    lost = np.zeros(observed.shape, bool)
    score, shares = None, [share] * len(rates)
    if depends_on != "mcar":
        score, shares = _driver_scores(values, observed, share, depends_on, rng)
        score = np.broadcast_to(score, observed.shape)
    for m, rate in enumerate(rates):
        decides = None if score is None else score[m, :, :rate].ravel()
        time = _stretches(lost.shape[1] * rate, patches * rate, shares[m], rng, decides)
        lost[m, :, :rate] = time.reshape(-1, rate)
    return lost


def bursts(
    shape: tuple[int, ...], rates: Sequence[int], share: float, patches: float, rng: np.random.Generator
) -> np.ndarray:
    """Losses that come in bursts of random length, `patches` on average, in each modality by itself.

    The chain of two states of Gilbert (Bell System Technical Journal 1960), begun in its stationary
    distribution: now and then the state is drawn anew, lost with probability `share`, and kept in
    between. Bursts are at least as long as by drawing every sample anew: 1 / (1 - share) samples.
    """
    lost = np.zeros(shape, bool)
    for m, rate in enumerate(rates):
        anew = rng.random(shape[1] * rate, np.float32) < 1 / max(1.0, patches * rate * (1 - share))
        anew[0] = True
        states = rng.random(anew.sum(), np.float32) < share
        lost[m, :, :rate] = states[anew.cumsum() - 1].reshape(-1, rate)
    return lost


def blackout(
    shape: tuple[int, ...], rates: Sequence[int], share: float, patches: int, rng: np.random.Generator
) -> np.ndarray:
    """Stretches of some patches in all modalities at the same times, starting at any sample of the fastest.

    A slower modality loses the samples whose instants lie in a stretch.
    """
    lost, fastest = np.zeros(shape, bool), max(rates)
    time = _stretches(shape[1] * fastest, patches * fastest, share, rng)
    for m, rate in enumerate(rates):
        lost[m, :, :rate] = time[np.arange(shape[1] * rate) * fastest // rate].reshape(-1, rate)
    return lost


def subsample(
    shape: tuple[int, ...], rates: Sequence[int], samples: float, rng: np.random.Generator
) -> np.ndarray:
    """Irregular sampling: of each modality's grid on average so many `samples` a patch stay."""
    kept = np.minimum(1, samples / np.asarray(rates))
    return rng.random(shape, np.float32) >= kept[:, None, None]


def drop_modalities(present: np.ndarray, share: float, rng: np.random.Generator) -> np.ndarray:
    """Numbers of the modalities that are lost altogether, of those `present` (bool); one always stays."""
    order = rng.permutation(len(present))  # over all, so that it does not depend on which are present
    there = order[present[order]]
    return there[: max(0, min(_round(share * len(there), rng), len(there) - 1))]


def _round(x: float, rng: np.random.Generator) -> int:
    """One of the two whole numbers around x, such that the mean is x."""
    return int(np.floor(x + rng.random()))


def _stretches(
    length: int, gap: int, share: float, rng: np.random.Generator, score: np.ndarray | None = None
) -> np.ndarray:
    """Bool (length,): stretches of `gap` samples that do not overlap; of some, where `score` is highest."""
    gap = min(gap, length)
    n = min(_round(share * length / gap, rng), length // gap)
    free = length - n * gap
    if score is None:
        # Every arrangement of n gaps is equally likely: choose their places among n gaps and the free
        # samples between them.
        places = np.sort(rng.choice(free + n, n, replace=False))
        starts = places + np.arange(n) * (gap - 1)
    else:
        starts = np.sort(rng.integers(0, free + 1, (CANDIDATE_ARRANGEMENTS, n))) + np.arange(n) * gap
        total = np.concatenate([[0], score.cumsum()])
        hidden = (total[starts + gap] - total[starts]).sum(1)
        starts = starts[hidden.round(6).argmax()]  # rounded: the last bits must not decide between equals
    time = np.zeros(length, bool)
    time[(starts[:, None] + np.arange(gap)).ravel()] = True
    return time


def _driver_scores(
    values: np.ndarray, observed: np.ndarray, share: float, depends_on: str, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """The score that decides, broadcastable to `observed`, and the share (modality,) each has to lose.

    "mar" is one modality of those present, drawn for this window, by its mean in each patch, so that
    modalities of any rate can depend on it. The others lose more, so that over windows every modality
    loses its share, or all they have where that is not enough. A modality that is alone depends on
    nothing. A score is 0, which is neutral, where nothing is observed.
    """
    shares = np.full(len(observed), share)
    if depends_on == "mnar":
        flat = observed.reshape(len(observed), -1)
        return _standardised(values.reshape(flat.shape), flat).reshape(observed.shape), shares
    present = np.flatnonzero(observed.any(axis=(1, 2)))
    if len(present) < 2:
        return np.zeros((1, observed.shape[1], 1)), shares
    driver = rng.choice(present)
    shares = np.minimum(1, shares * len(present) / (len(present) - 1))
    shares[driver] = 0
    counts = observed[driver].sum(1)
    sums = np.where(observed[driver], values[driver], 0).sum(1, dtype=np.float64)
    return _standardised(sums / np.maximum(counts, 1), counts > 0)[None, :, None], shares


def _standardised(x: np.ndarray, seen: np.ndarray) -> np.ndarray:
    """Standard scores along the last axis of what is `seen`; 0 elsewhere, and where nothing varies."""
    n = np.maximum(seen.sum(-1, keepdims=True), 1)
    x = np.where(seen, x, 0).astype(np.float64)
    mean = x.sum(-1, keepdims=True) / n
    x = np.where(seen, x - mean, 0)
    deviation = np.sqrt((x * x).sum(-1, keepdims=True) / n)
    return x / np.where(deviation > 0, deviation, 1)  # 64 bits hold the mean of equal 32-bit values exactly


def _logistic(score: np.ndarray, observed: np.ndarray, shares: np.ndarray) -> np.ndarray:
    """Chance of a loss, logistic in the score, whose mean over the observed samples is the share."""
    weight = observed if score.shape[2] > 1 else observed.sum(2, keepdims=True)
    weight = weight / np.maximum(weight.sum((1, 2), keepdims=True), 1)
    # Odds, as their exponential function is then needed once; beyond the bounds a chance is 0 or 1 anyhow.
    against = np.exp(np.clip(-LOGIT_SLOPE * score, -100, 100))
    with np.errstate(divide="ignore"):  # a share of 0 or 1 has an infinite intercept
        odds = np.log(shares / (1 - shares))
    low, high = (odds + np.log(f(against, axis=(1, 2))) for f in (np.min, np.max))
    for _ in range(20):
        middle = (low + high) / 2
        chance = 1 / (1 + np.exp(-middle)[:, None, None] * against)
        few = np.einsum("mps,mps->m", weight, chance) < shares
        low, high = np.where(few, middle, low), np.where(few, high, middle)
    return chance
