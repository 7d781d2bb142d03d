"""Constants that coordinator and sites share, and a hash by which they compare their source."""

from __future__ import annotations

import hashlib
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from condi_core.config import RunConfig

COMPLETIONS_MISSING = 404  # error code of a site that has lost its completions and needs the imputer again
POLICY_REFUSED = 403  # error code of a site whose policy does not let it answer

POOLED_SITE = "all/sites"  # name of the node with the data of all sites; no real site can have it

SCORE_PREFIX = "score/"  # of the names of scores that a site sends with the weights that it trained

REPLICATES = "replicates"  # name of the replicates of test sums in a reply; see `evaluation.replicates`

MIN_SECURE_SITES = 3  # for secure aggregation: with two sites, each would learn the other's update
LOSS_RANGE = 64.0  # upper limit of the losses that secure aggregation can carry; larger ones are clipped


def sends_replicates(config: RunConfig) -> bool:
    """Whether sites send replicates of their test sums: not in runs that protect sites or patients."""
    privacy = config.privacy
    return not (config.secure_aggregation or privacy.noise_multiplier or privacy.patient_epsilon)


@cache
def fingerprint() -> str:
    """Hash the source of this package. Every message carries it, as both ends must compute the same."""
    root = Path(__file__).parent
    digest = hashlib.sha256()
    for file in sorted(root.rglob("*.py")):
        digest.update(file.relative_to(root).as_posix().encode() + b"\0" + file.read_bytes() + b"\0")
    return digest.hexdigest()[:16]
