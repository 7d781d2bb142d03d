"""Mechanisms that hide entire modalities. One modality always remains."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from condi_core.missingness.mechanism import Mechanism, Window, round_at_random
from condi_core.missingness.setting import share


def mask_modalities_of_window(
    window: Window, settings: Mapping[str, Any], rng: np.random.Generator
) -> np.ndarray:
    """Hide some of the modalities that are observed in the window."""
    return _drop_modalities(window, np.any(window.observed, axis=(1, 2)), settings["modality-by-window"], rng)


def mask_modalities_of_site(
    window: Window, settings: Mapping[str, Any], rng: np.random.Generator
) -> np.ndarray:
    """Hide some of the modalities that the site has."""
    return _drop_modalities(window, window.present, settings["modality-by-site"], rng)


def _drop_modalities(
    window: Window, present: np.ndarray, fraction: float, rng: np.random.Generator
) -> np.ndarray:
    order = rng.permutation(len(present))  # of all modalities, so that it does not depend on the present ones
    candidates = order[present[order]]
    count = min(round_at_random(fraction * len(candidates), rng), len(candidates) - 1)
    missing = np.zeros(window.observed.shape, bool)
    missing[candidates[: max(0, count)]] = True
    return missing


MODALITY_BY_WINDOW = Mechanism(
    share("modality-by-window", "p_s: fraction of modalities hidden for a whole window"),
    mask_modalities_of_window,
    stream="modalities",
    label="{} of signals",
)
MODALITY_BY_SITE = Mechanism(
    share("modality-by-site", "p_m: fraction of modalities that a site is without for the whole run"),
    mask_modalities_of_site,
    stream="site",
    level="site",
    label="{} of signals of a site",
)
MODALITY_MECHANISMS = (MODALITY_BY_WINDOW, MODALITY_BY_SITE)
