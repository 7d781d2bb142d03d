"""FedAdam: `mask`, and the coordinator uses the mean update of a round as a gradient for Adam.

Reddi et al. 2021, arXiv:2003.00295, algorithm 2, without bias correction as there: with the mean update d,
m = b1 m + (1 - b1) d, v = b2 v + (1 - b2) d², w = w + rate · m / (sqrt(v) + tau), from m = 0 and v = tau².
What no site trained in a round keeps its weights and moments. The task model is exchanged; the moments stay
at the coordinator, in its checkpoint.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import numpy as np

from condi_core.averaging import Arrays, SiteUpdate, site_weights, weighted_mean
from condi_core.methods.method import Method, Positive, Share
from condi_core.ownership import Owner

BETA1, BETA2, TAU = 0.9, 0.99, 1e-3  # as in the paper's experiments
RATE = 0.01  # learning rate of the coordinator; our choice, the paper tunes it for each task


def adam_step(
    base: Arrays,
    owners: dict[str, Owner],
    updates: Sequence[SiteUpdate],
    rate: float = RATE,
    beta1: float = BETA1,
    beta2: float = BETA2,
    tau: float = TAU,
) -> Arrays:
    """Take one step of Adam; the moments are `fedadam/m/name` and `fedadam/v/name` of the state."""
    result = dict(base)
    for name in updates[0].arrays:
        old, weights = base[name], site_weights(owners[name], updates, base[name].shape)
        mean_update = weighted_mean([update.arrays[name] for update in updates], weights, old) - old
        m = base.get(f"fedadam/m/{name}", np.zeros(old.shape))
        v = base.get(f"fedadam/v/{name}", np.full(old.shape, tau**2))
        trained = np.broadcast_to(np.asarray(sum(weights)) > 0, old.shape)
        m = np.where(trained, beta1 * m + (1 - beta1) * mean_update, m)
        v = np.where(trained, beta2 * v + (1 - beta2) * mean_update**2, v)
        step = np.where(trained, rate * m / (np.sqrt(v) + tau), 0)
        result |= {name: (old + step).astype(old.dtype), f"fedadam/m/{name}": m, f"fedadam/v/{name}": v}
    return result


def make_fedadam(
    rate: Positive = RATE, beta1: Share = BETA1, beta2: Share = BETA2, tau: Positive = TAU
) -> Method:
    """Make the method with another optimiser of the coordinator."""
    step = partial(adam_step, rate=rate, beta1=beta1, beta2=beta2, tau=tau)
    return Method("fedadam", "zeros and mask, FedAdam", label="FedAdam", combine=step, make=make_fedadam)


METHOD = make_fedadam()
