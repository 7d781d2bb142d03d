"""FedNova: `mask`, averaged so that a site which took more steps does not count more.

Wang et al. 2020, arXiv:2007.07481: each site's update is divided by its number of local steps, and the mean
of these is multiplied by the mean number of steps. Here both means are per modality, with the weights of
FedAvg, and the number of steps is the normaliser whatever the local optimiser is, as it is for plain SGD in
the paper. With equal steps it is FedAvg; steps differ when a site runs out of time. The task model and the
number of steps are exchanged.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from condi_core.averaging import Arrays, SiteUpdate, site_weights, weighted_mean
from condi_core.methods.method import Method
from condi_core.ownership import Owner


def normalised_average(base: Arrays, owners: dict[str, Owner], updates: Sequence[SiteUpdate]) -> Arrays:
    """Return base + mean steps · mean of update / steps, per piece; what no site trained keeps its value."""
    result = dict(base)
    for name in updates[0].arrays:
        old = base[name].astype(np.float64)
        weights, zero = site_weights(owners[name], updates, old.shape), np.zeros(old.shape)
        direction = weighted_mean([(u.arrays[name] - old) / u.steps for u in updates], weights, zero)
        steps = weighted_mean([np.full(old.shape, u.steps) for u in updates], weights, zero)
        result[name] = (old + steps * direction).astype(base[name].dtype)
    return result


METHOD = Method("fednova", "zeros and mask, FedNova", label="FedNova", combine=normalised_average)
