"""Which parameter belongs to which modality, or pair of modalities.

A layer that keeps rows per modality says so in a class attribute, for instance
`owners = {"weight": "modality"}`: axis 0 is the modality. `"pair"`: axes 0 and 1 are target and source.
A module whose rows are those of some modalities only names their places in `members`. All other parameters
are shared by everyone.
"""

from __future__ import annotations

from typing import Literal, NamedTuple

import numpy as np
from torch import nn


class Owner(NamedTuple):
    """Kind of a parameter's owners, and the places of the modalities it has rows for (None: all)."""

    kind: Literal["shared", "modality", "pair"]
    members: tuple[int, ...] | None = None


SHARED = Owner("shared")


def ownership(model: nn.Module) -> dict[str, Owner]:
    """Owner of every entry of the model's state, in its order."""
    owners: dict[str, Owner] = {}
    for prefix, module in model.named_modules():
        for name, kind in getattr(module, "owners", {}).items():
            full = f"{prefix}.{name}" if prefix else name
            owners[full] = Owner(kind, getattr(module, "members", None))
    return {name: owners.get(name, SHARED) for name in model.state_dict()}


def trainable(model: nn.Module) -> set[str]:
    """Names of what gradient steps change; the rest of the state travels to sites but not back."""
    return {name for name, parameter in model.named_parameters() if parameter.requires_grad}


def aggregation_weights(
    owner: Owner, counts: np.ndarray, windows: float, shape: tuple[int, ...]
) -> np.ndarray:
    """What a site's piece weighs in the average, broadcastable to `shape`.

    `counts` (modality, modality): windows the site trained on in which both modalities were observed; the
    diagonal counts one modality. `windows` is their number altogether.
    """
    if owner.kind == "shared":
        return np.full((1,) * len(shape), windows)
    if owner.members is not None:
        counts = counts[np.ix_(owner.members, owner.members)]
    if owner.kind == "modality":
        return counts.diagonal().reshape(-1, *(1,) * (len(shape) - 1))
    return counts.reshape(*counts.shape, *(1,) * (len(shape) - 2))
