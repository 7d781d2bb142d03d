"""What coordinator and sites agree on, beside the records that they exchange."""

from __future__ import annotations

import hashlib
from functools import cache
from pathlib import Path

COMPLETIONS_MISSING = 404  # error code of a site that has lost its completions and needs the imputer again

POOLED_SITE = "all/sites"  # name of all sites of a simulation as one; no real site can have it

MIN_SECURE_SITES = 3  # sites of secure aggregation: with two, each would know the update of the other
LOSS_RANGE = 64.0  # upper limit of the losses that secure aggregation can carry; larger ones are clipped


@cache
def fingerprint() -> str:
    """Hash the source of this package. Every message carries it, as both ends must compute the same."""
    root = Path(__file__).parent
    digest = hashlib.sha256()
    for file in sorted(root.rglob("*.py")):
        digest.update(file.relative_to(root).as_posix().encode() + b"\0" + file.read_bytes() + b"\0")
    return digest.hexdigest()[:16]
