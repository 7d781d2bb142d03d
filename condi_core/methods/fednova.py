"""FedNova: `mask`, averaged so that a site which took more steps does not count more.

Wang et al. 2020, arXiv:2007.07481: each site's update is divided by its number of local steps,
the mean of these is taken times the mean number of steps. Here both means are per modality, with the
weights of FedAvg, and the number of steps is the normaliser whatever the local optimiser is, as it is for
plain SGD in the paper. With equal steps it is FedAvg; sites differ in them when one runs out of time.
Travels: the task model, and the number of steps.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from condi_core.averaging import Arrays, SiteUpdate, weighted_mean, weights_of
from condi_core.methods.method import Method
from condi_core.ownership import Owner


def normalised_average(base: Arrays, owners: dict[str, Owner], trained: Sequence[SiteUpdate]) -> Arrays:
    """base + mean of steps · mean of update / steps, per piece; what nobody trained keeps its value."""
    result = dict(base)
    for name in trained[0].arrays:
        old = base[name].astype(np.float64)
        weights, zero = weights_of(owners[name], trained, old.shape), np.zeros(old.shape)
        direction = weighted_mean([(t.arrays[name] - old) / t.steps for t in trained], weights, zero)
        steps = weighted_mean([np.full(old.shape, t.steps) for t in trained], weights, zero)
        result[name] = (old + steps * direction).astype(base[name].dtype)
    return result


METHOD = Method("fednova", "zeros and mask, FedNova", combine=normalised_average)
