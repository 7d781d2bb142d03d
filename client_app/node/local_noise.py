"""The site's own limit and noise of its updates, which its policy asks for and no run can switch off.

The change of all weights together is shortened to a norm C, and Gaussian noise of standard deviation z C is
added: local differential privacy of the site. If all of its data are replaced, the shortened change moves by
at most 2 C. The guarantee holds towards everybody who sees the update, the coordinator included. It covers
the weights alone, and not counts, losses and scores.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np

from client_app.node.site_policy import SitePolicy
from condi_core.privacy.accounting import GaussianRelease, compute_epsilon
from condi_core.privacy.noise import secure_gaussian_noise

SENSITIVITY = 2.0  # of a shortened change, in units of its norm


def protect_update(
    weights: Mapping[str, np.ndarray], start: Mapping[str, np.ndarray], policy: SitePolicy
) -> dict[str, np.ndarray]:
    """Shorten the change of weights, and add noise to it.

    Parameters
    ----------
    weights : mapping of str to ndarray
        The trained weights.
    start : mapping of str to ndarray
        The weights from which the site started, with at least these names.
    policy : SitePolicy
        `update-clip-norm` and `update-noise-multiplier`.

    Returns
    -------
    dict
        The weights to send; those that were trained where the policy has no limit.
    """
    norm, multiplier = policy.update_clip_norm, policy.update_noise_multiplier
    if not norm:
        return dict(weights)
    changes = {name: array.astype(np.float64) - start[name] for name, array in weights.items()}
    length = math.sqrt(sum(float(np.square(change).sum()) for change in changes.values()))
    # What is not finite counts as no change: without a reply, others would learn that training diverged.
    factor = min(1.0, norm / length) if 0 < length < math.inf else 0.0
    result = {}
    for name, change in changes.items():
        shortened = change * factor if factor else np.zeros_like(change)
        if multiplier:
            shortened = shortened + multiplier * norm * secure_gaussian_noise(change.shape)
        result[name] = (start[name] + shortened).astype(weights[name].dtype)
    return result


def compute_local_epsilon(policy: SitePolicy, updates: int, delta: float) -> float:
    """Return the epsilon of updates with the site's own noise, when all data of the site are replaced."""
    return compute_epsilon(
        [GaussianRelease(policy.update_noise_multiplier / SENSITIVITY, 1.0, updates)], delta
    )
