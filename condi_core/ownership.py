"""Which parameter belongs to which modality, or pair of modalities.

A layer that keeps rows per modality says so in a class attribute, for instance
`owners = {"weight": "modality"}`: axis 0 is the modality. `"pair"`: axes 0 and 1 are target and source.
All other parameters are shared by everyone.
"""

from __future__ import annotations

from typing import Literal

import numpy as np
from torch import nn

Owner = Literal["shared", "modality", "pair"]


def ownership(model: nn.Module) -> dict[str, Owner]:
    """Owner of every entry of the model's state, in its order."""
    owners: dict[str, Owner] = {}
    for prefix, module in model.named_modules():
        for name, owner in getattr(module, "owners", {}).items():
            owners[f"{prefix}.{name}" if prefix else name] = owner
    return {name: owners.get(name, "shared") for name in model.state_dict()}


def trainable(model: nn.Module) -> set[str]:
    """Names of what gradient steps change; the rest of the state travels to sites but not back."""
    return {name for name, parameter in model.named_parameters() if parameter.requires_grad}


def weights(owner: Owner, counts: np.ndarray, windows: float, shape: tuple[int, ...]) -> np.ndarray:
    """What a site's piece weighs in the average, broadcastable to `shape`.

    `counts` (modality, modality): windows the site trained on in which both modalities were observed; the
    diagonal counts one modality. `windows` is their number altogether.
    """
    if owner == "shared":
        return np.full((1,) * len(shape), windows)
    if owner == "modality":
        return counts.diagonal().reshape(-1, *(1,) * (len(shape) - 1))
    return counts.reshape(*counts.shape, *(1,) * (len(shape) - 2))
