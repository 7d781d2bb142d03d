"""Which parameter belongs to which modality, or pair of modalities.

A layer with rows per modality declares them in a class attribute, for instance
`owners = {"weight": "modality"}`: axis 0 is the modality. With `"pair"`, axes 0 and 1 are target and source.
A module that has rows for only some modalities lists their positions in `members`. All other parameters are
shared by all modalities.
"""

from __future__ import annotations

from typing import Literal, NamedTuple

import numpy as np
from torch import nn


class Owner(NamedTuple):
    """The modalities that the rows of an array belong to.

    Attributes
    ----------
    kind : "shared" (no rows), "modality" (axis 0) or "pair" (axes 0 and 1)
    members : positions of the modalities that it has rows for; None: all
    """

    kind: Literal["shared", "modality", "pair"]
    members: tuple[int, ...] | None = None


SHARED = Owner("shared")


def ownership(model: nn.Module) -> dict[str, Owner]:
    """Return the owner of every entry of the model's `state_dict`, in the same order."""
    owners: dict[str, Owner] = {}
    for prefix, module in model.named_modules():
        for name, kind in getattr(module, "owners", {}).items():
            full_name = f"{prefix}.{name}" if prefix else name
            owners[full_name] = Owner(kind, getattr(module, "members", None))
    return {name: owners.get(name, SHARED) for name in model.state_dict()}


def trainable(model: nn.Module) -> set[str]:
    """Return the names of the parameters that gradient steps change; sites send back only these."""
    return {name for name, parameter in model.named_parameters() if parameter.requires_grad}


def aggregation_weights(
    owner: Owner, counts: np.ndarray, windows: float, shape: tuple[int, ...]
) -> np.ndarray:
    """Return the weight of a site's array in the average.

    Parameters
    ----------
    owner : of the array
    counts : (modality, modality), number of windows that the site trained on in which both modalities were
        observed; the diagonal counts the windows in which one modality was observed
    windows : number of windows the site trained on
    shape : of the array

    Returns
    -------
    ndarray that broadcasts to `shape`
    """
    if owner.kind == "shared":
        return np.full((1,) * len(shape), windows)
    if owner.members is not None:
        counts = counts[np.ix_(owner.members, owner.members)]
    if owner.kind == "modality":
        return counts.diagonal().reshape(-1, *(1,) * (len(shape) - 1))
    return counts.reshape(*counts.shape, *(1,) * (len(shape) - 2))
