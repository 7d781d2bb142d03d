"""Simulated missingness: which of the observed samples are hidden. Never stored, fixed by (seed, record id).

`Missingness` says what to hide, `missingness_mask` which samples of a window that is. What each mechanism does:
`mechanisms`.
"""

import hashlib
import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from data_partitions import mechanisms
from data_partitions.errors import DataError
from data_partitions.partition import Partition

SHARES = ("points", "gaps", "bursts", "blackout", "modality_by_window", "modality_by_site")
DEPENDS_ON = ("mcar", "mar", "mnar")


@dataclass(frozen=True)
class Missingness:
    """What to hide; with nothing said, nothing. Shares are expected ones, from 0 to 1.

    Part of a modality (p_w):
    - `points`: share of samples that are lost one by one;
    - `gaps`: share of time that each modality loses in stretches of `gap_patches` patches;
    - `bursts`: share of time that each modality loses in bursts of random length, `burst_patches` patches
      on average;
    - `blackout`: share of time that all modalities lose together, in stretches of `gap_patches`;
    - `subsample_to`: samples per patch that are left of each modality, on average and at random times;
      0 leaves all. It is counted on the modality's grid: what nature left empty stays empty, so that of a
      modality of which half is observed, half as many are left.
    A whole modality:
    - `modality_by_window` (p_s): share of those present in a window that it lacks;
    - `modality_by_site` (p_m): share of those present at a site that it lacks in the whole run.

    `points_mechanism` and `gaps_mechanism` say what decides: "mcar", "mar" modality, which is
    drawn for every window and spared, or the lost value "mnar"; high values are lost.

    A share of time that no whole number of stretches makes is met on average, as far as they fit.
    Raises DataError for a setting that is out of range.
    """

    points: float = 0.0
    points_mechanism: str = "mcar"
    gaps: float = 0.0
    gaps_mechanism: str = "mcar"
    gap_patches: int = 5
    bursts: float = 0.0
    burst_patches: float = 2.0
    blackout: float = 0.0
    modality_by_window: float = 0.0
    modality_by_site: float = 0.0
    subsample_to: float = 0.0

    def __post_init__(self) -> None:
        for name in SHARES:
            if not 0 <= getattr(self, name) <= 1:
                raise DataError(
                    f"missingness: {name} must be a share from 0 to 1, it is {getattr(self, name):g}"
                )
        for name in ("points_mechanism", "gaps_mechanism"):
            if getattr(self, name) not in DEPENDS_ON:
                raise DataError(
                    f'missingness: {name} must be one of {", ".join(DEPENDS_ON)}, it is "{getattr(self, name)}"'
                )
        if self.gap_patches < 1:
            raise DataError(
                f"missingness: a gap must have at least one patch, gap_patches is {self.gap_patches}"
            )
        if not 0 < self.burst_patches < math.inf:
            raise DataError(
                f"missingness: a burst must have a length, in patches: burst_patches is {self.burst_patches:g}"
            )
        if not 0 <= self.subsample_to < math.inf:
            raise DataError(
                f"missingness: subsample_to must be a number of samples per patch, or 0 for all, it is {self.subsample_to:g}"
            )


def missingness_mask(
    values: np.ndarray,
    observed: np.ndarray,
    missingness: Missingness,
    *,
    seed: int,
    record_id: str,
    samples_per_patch: Sequence[int] | None = None,
    site: str = "",
    present: Sequence[bool] | None = None,
) -> np.ndarray:
    """What to hide of a window: bool (modality, patch, sample), True = hidden, only where `observed`.

    `values` (modality, patch, sample) matter where something depends on them, and only where `observed`.
    `samples_per_patch` says how many samples of each modality's patches are true ones (default: all), the
    others are padding. `site` and which modalities are `present` there (default: all) decide, with the
    seed, what `modality_by_site` takes.

    The result depends on the arguments alone, the same on every machine: every mechanism has its own
    stream of random numbers, and what they hide together is the union. `modality_by_window` and
    `modality_by_site` always leave one modality. What the site lacks is as if never observed; should the
    rest be hidden of a window that had something, one stretch of `gap_patches` patches of one modality,
    with at least one observed sample in it, is shown again.
    """
    observed = np.asarray(observed, dtype=bool)
    shape, rates = observed.shape, samples_per_patch
    if rates is None:
        rates = [shape[2]] * len(observed)

    def stream(mechanism: str) -> np.random.Generator:
        return _stream(seed, record_id, mechanism)

    left = observed
    if missingness.modality_by_site:
        at_site = np.ones(len(observed), bool) if present is None else np.asarray(present, bool)
        left = observed.copy()
        left[
            mechanisms.drop_modalities(at_site, missingness.modality_by_site, _stream(seed, site, "site"))
        ] = False
    hidden = np.zeros(shape, bool)
    if missingness.points:
        hidden |= mechanisms.points(
            values, left, missingness.points, missingness.points_mechanism, stream("points")
        )
    if missingness.gaps:
        hidden |= mechanisms.gaps(
            values,
            left,
            rates,
            missingness.gaps,
            missingness.gap_patches,
            missingness.gaps_mechanism,
            stream("gaps"),
        )
    if missingness.bursts:
        hidden |= mechanisms.bursts(
            shape, rates, missingness.bursts, missingness.burst_patches, stream("bursts")
        )
    if missingness.blackout:
        hidden |= mechanisms.blackout(
            shape, rates, missingness.blackout, missingness.gap_patches, stream("blackout")
        )
    if missingness.subsample_to:
        hidden |= mechanisms.subsample(shape, rates, missingness.subsample_to, stream("thinning"))
    if missingness.modality_by_window:
        there = left.any(axis=(1, 2))
        hidden[mechanisms.drop_modalities(there, missingness.modality_by_window, stream("modalities"))] = True
    hidden &= left
    if left.any() and (hidden == left).all():
        _show_one_stretch(hidden, missingness.gap_patches, stream("show"))
    if missingness.modality_by_site:
        hidden |= observed & ~left
    return hidden


def missingness_masks(
    partition: Partition,
    rows: np.ndarray,
    values: np.ndarray,
    observed: np.ndarray,
    missingness: Missingness,
    seed: int,
) -> np.ndarray:
    """`missingness_mask` for windows of a site: bool (window, modality, patch, sample), fixed by seed and record."""
    hidden = []
    for v, o, row in zip(values, observed, rows, strict=True):
        manifest = partition.manifest_for_row(row)
        hidden.append(
            missingness_mask(
                v,
                o,
                missingness,
                seed=seed,
                record_id=partition.record_ids[row],
                samples_per_patch=[m.samples_per_patch for m in manifest.modalities],
                site=manifest.site,
                present=[m.present for m in manifest.modalities],
            )
        )
    return np.stack(hidden)


def sample_training_missingness(rng: np.random.Generator) -> Missingness:
    """Holes drawn from the mixture that training uses."""
    kind = rng.choice(["points", "gaps", "modalities"], p=[0.4, 0.3, 0.3])
    if kind == "points":
        return Missingness(points=float(rng.uniform(0.1, 0.9)))
    if kind == "gaps":
        missingness = {"gaps": float(rng.uniform(0.2, 0.7)), "gap_patches": int(rng.choice([2, 5, 10, 20]))}
    else:
        missingness = {"modality_by_window": float(rng.uniform(0.1, 0.6))}
    return Missingness(**missingness, points=0.2 if rng.random() < 1 / 3 else 0.0)


def _stream(seed: int, name: str, mechanism: str) -> np.random.Generator:
    digest = hashlib.sha256(f"{seed}\n{name}\n{mechanism}".encode()).digest()
    return np.random.default_rng(np.frombuffer(digest, "<u4"))


def _show_one_stretch(hidden: np.ndarray, patches: int, rng: np.random.Generator) -> None:
    modality, patch, _ = hidden.nonzero()
    kept = rng.choice(np.unique(modality))
    start = rng.choice(np.unique(patch[modality == kept]))
    hidden[kept, start : start + patches] = False
