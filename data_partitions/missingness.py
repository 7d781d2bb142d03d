"""Simulated holes: which of the observed samples are hidden. Never stored, fixed by (seed, record id).

Mechanisms, all completely at random; what is hidden is their union:
- points: each sample by itself;
- gaps: stretches of some patches, starting at any sample, in each modality by itself;
- modalities: whole streams.
"""

import hashlib
from collections.abc import Sequence

import numpy as np

from data_partitions.errors import DataError


def hide(
    observed: np.ndarray,
    *,
    seed: int,
    record_id: str,
    points: float = 0.0,
    gaps: float = 0.0,
    gap_patches: int = 5,
    modalities: float = 0.0,
    samples_per_patch: Sequence[int] | None = None,
) -> np.ndarray:
    """What to hide of a window: bool (modality, patch, sample), True = hidden, only where `observed`.

    `points`, `gaps` and `modalities` are the expected shares (0 to 1) of samples, of each modality's time
    and of present modalities that the mechanism hides. Gaps are `gap_patches` patches long and do not
    overlap; a share that no whole number of them makes is met on average, as far as they fit.
    `samples_per_patch` says how many samples of each modality's patches are true ones (default: all), the
    others are padding.

    The result depends on the arguments alone: the same on every machine, and every mechanism has its own
    stream of random numbers. `modalities` always leaves one present modality. Should the union leave
    nothing of a window that had something, one stretch of `gap_patches` patches of one modality, with at
    least one observed sample in it, is shown again.

    Raises DataError for a share outside 0 to 1 and a gap shorter than a patch.
    """
    for name, share in (("points", points), ("gaps", gaps), ("modalities", modalities)):
        if not 0 <= share <= 1:
            raise DataError(f"the share of {name} to hide must be from 0 to 1, it is {share:g}")
    if gap_patches < 1:
        raise DataError(f"a gap must have at least one patch, gap_patches is {gap_patches}")
    observed = np.asarray(observed, dtype=bool)
    hidden = np.zeros(observed.shape, bool)
    if points:
        # 32 bits a sample are plenty and twice as quick.
        hidden |= _stream(seed, record_id, "points").random(observed.shape, np.float32) < points
    if gaps:
        rates = [observed.shape[2]] * len(observed) if samples_per_patch is None else samples_per_patch
        hidden |= _gaps(observed.shape, rates, gaps, gap_patches, _stream(seed, record_id, "gaps"))
    if modalities:
        hidden[_whole(observed, modalities, _stream(seed, record_id, "modalities"))] = True
    hidden &= observed
    if observed.any() and (hidden == observed).all():
        _show_one_stretch(hidden, gap_patches, _stream(seed, record_id, "show"))
    return hidden


def random_holes(rng: np.random.Generator) -> dict:
    """Arguments for `hide`, drawn from the mixture of holes that training uses."""
    kind = rng.choice(["points", "gaps", "modalities"], p=[0.4, 0.3, 0.3])
    if kind == "points":
        return {"points": float(rng.uniform(0.1, 0.9))}
    if kind == "gaps":
        holes = {"gaps": float(rng.uniform(0.2, 0.7)), "gap_patches": int(rng.choice([2, 5, 10, 20]))}
    else:
        holes = {"modalities": float(rng.uniform(0.1, 0.6))}
    if rng.random() < 1 / 3:
        holes["points"] = 0.2
    return holes


def _stream(seed: int, record_id: str, mechanism: str) -> np.random.Generator:
    digest = hashlib.sha256(f"{seed}\n{record_id}\n{mechanism}".encode()).digest()
    return np.random.default_rng(np.frombuffer(digest, "<u4"))


def _round(x: float, rng: np.random.Generator) -> int:
    """One of the two whole numbers around x, such that the mean is x."""
    return int(np.floor(x + rng.random()))


def _gaps(
    shape: tuple[int, ...], rates: Sequence[int], share: float, gap_patches: int, rng: np.random.Generator
) -> np.ndarray:
    hidden = np.zeros(shape, bool)
    for modality, rate in enumerate(rates):
        length = shape[1] * rate
        gap = min(gap_patches * rate, length)
        # Every arrangement of n gaps is equally likely: choose their places among n gaps and the free
        # samples between them.
        n = min(_round(share * length / gap, rng), length // gap)
        free = length - n * gap
        places = np.sort(rng.choice(free + n, n, replace=False))
        starts = places + np.arange(n) * (gap - 1)
        time = np.zeros(length, bool)
        time[(starts[:, None] + np.arange(gap)).ravel()] = True
        hidden[modality, :, :rate] = time.reshape(shape[1], rate)
    return hidden


def _whole(observed: np.ndarray, share: float, rng: np.random.Generator) -> np.ndarray:
    order = rng.permutation(len(observed))  # over all, so that it does not depend on which are present
    present = order[observed.any(axis=(1, 2))[order]]
    count = min(_round(share * len(present), rng), len(present) - 1)
    return present[: max(0, count)]


def _show_one_stretch(hidden: np.ndarray, patches: int, rng: np.random.Generator) -> None:
    modality, patch, _ = hidden.nonzero()
    kept = rng.choice(np.unique(modality))
    start = rng.choice(np.unique(patch[modality == kept]))
    hidden[kept, start : start + patches] = False
