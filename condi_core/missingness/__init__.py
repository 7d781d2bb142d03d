"""Simulated missingness: which of the observed samples are hidden.

Masks are never stored: they follow from the settings, the run's seed and the record id. `Missingness` holds
the settings, `missingness_mask` makes the mask of a window, and `MECHANISMS` lists the mechanisms, each with
its settings, its expected share and its mask.
"""

from condi_core.missingness.masks import missingness_mask, missingness_masks
from condi_core.missingness.mechanism import Mechanism, Window
from condi_core.missingness.registry import (
    AMOUNTS,
    MECHANISMS,
    SETTINGS,
    active_settings,
    describe_settings,
)
from condi_core.missingness.setting import Setting
from condi_core.missingness.specification import Missingness, MissingnessError
from condi_core.missingness.training import sample_training_missingness

__all__ = [
    "AMOUNTS",
    "MECHANISMS",
    "SETTINGS",
    "Mechanism",
    "Missingness",
    "MissingnessError",
    "Setting",
    "Window",
    "active_settings",
    "describe_settings",
    "missingness_mask",
    "missingness_masks",
    "sample_training_missingness",
]
