"""Combine the masks of all mechanisms into the mask of a window."""

import hashlib
from collections.abc import Sequence
from dataclasses import replace
from typing import Any, Protocol

import numpy as np

from condi_core.missingness.mechanism import Window
from condi_core.missingness.registry import MECHANISMS
from condi_core.missingness.specification import Missingness


class RecordStore(Protocol):
    """What masks depend on in a store of windows, such as a partition."""

    @property
    def record_ids(self) -> np.ndarray:
        """Id of each window within its site: str, `(window,)`."""

    def manifest_for_row(self, row: int) -> Any:
        """Return `site` and `modalities` of the site that a window is from."""


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
    """Make the mask of a window.

    The result depends on the arguments alone and is the same on every machine. Every mechanism has its own
    stream of random numbers, and the mask is the union of their masks. Modalities that the site loses for the
    whole run count as never observed. If all other observed samples of the window would be hidden, one
    stretch of `gap-patches` patches of one modality, with at least one observed sample, is revealed again.

    Parameters
    ----------
    values
        `(modality, patch, sample)`. Only mechanisms that depend on values use them, where `observed`.
    observed
        Bool, `(modality, patch, sample)`: what was measured.
    missingness
        What to hide.
    seed
        The seed of the run.
    record_id
        The window's id within its site.
    samples_per_patch
        Number of samples in a patch of each modality; samples beyond it are padding. Default: no padding.
    site
        Name of the site. The seed and the site decide which modalities the site loses.
    present
        Which modalities the site has. Default: all.

    Returns
    -------
    np.ndarray
        Bool, `(modality, patch, sample)`: True = hidden, only where `observed`.
    """
    observed = np.asarray(observed, dtype=bool)
    window = Window(
        values,
        observed,
        [observed.shape[2]] * len(observed) if samples_per_patch is None else samples_per_patch,
        np.ones(len(observed), bool) if present is None else np.asarray(present, bool),
    )
    active = [mechanism for mechanism in MECHANISMS if missingness[mechanism.name]]
    remaining = observed
    for mechanism in active:
        if mechanism.level == "site":
            rng = _make_random_stream(seed, site, mechanism.stream)
            remaining = remaining & ~mechanism.mask(window, missingness, rng)
    window = replace(window, observed=remaining)
    hidden = np.zeros(observed.shape, bool)
    for mechanism in active:
        if mechanism.level == "record":
            hidden |= mechanism.mask(
                window, missingness, _make_random_stream(seed, record_id, mechanism.stream)
            )
    hidden &= remaining
    if remaining.any() and (hidden == remaining).all():
        _reveal_one_stretch(hidden, missingness["gap-patches"], _make_random_stream(seed, record_id, "show"))
    return hidden | (observed & ~remaining)


def missingness_masks(
    store: RecordStore,
    rows: np.ndarray,
    values: np.ndarray,
    observed: np.ndarray,
    missingness: Missingness,
    seed: int,
) -> np.ndarray:
    """Make the masks of several windows of a site; see `missingness_mask`.

    Parameters
    ----------
    store
        The store of the windows.
    rows
        Rows of the windows in the store.
    values, observed
        `(window, modality, patch, sample)`
    missingness
        What to hide.
    seed
        The seed of the run.

    Returns
    -------
    np.ndarray
        Bool, `(window, modality, patch, sample)`: True = hidden.
    """
    masks = []
    for window_values, window_observed, row in zip(values, observed, rows, strict=True):
        manifest = store.manifest_for_row(row)
        masks.append(
            missingness_mask(
                window_values,
                window_observed,
                missingness,
                seed=seed,
                record_id=store.record_ids[row],
                samples_per_patch=[m.samples_per_patch for m in manifest.modalities],
                site=manifest.site,
                present=[m.present for m in manifest.modalities],
            )
        )
    return np.stack(masks)


def _make_random_stream(seed: int, name: str, stream: str) -> np.random.Generator:
    digest = hashlib.sha256(f"{seed}\n{name}\n{stream}".encode()).digest()
    return np.random.default_rng(np.frombuffer(digest, "<u4"))


def _reveal_one_stretch(hidden: np.ndarray, patches: int, rng: np.random.Generator) -> None:
    modalities, hidden_patches, _ = hidden.nonzero()
    modality = rng.choice(np.unique(modalities))
    start = rng.choice(np.unique(hidden_patches[modalities == modality]))
    hidden[modality, start : start + patches] = False
