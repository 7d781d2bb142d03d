"""The missingness on which an imputer is trained."""

import numpy as np

from condi_core.missingness.setting import Value
from condi_core.missingness.specification import Missingness


def sample_training_missingness(rng: np.random.Generator) -> Missingness:
    """Draw from the mixture of missingness patterns that training uses.

    Windows lose single samples (40 %), gaps (30 %) or entire modalities (30 %). One third of the latter two
    also lose single samples.
    """
    pattern = rng.choice(["points", "gaps", "modalities"], p=[0.4, 0.3, 0.3])
    if pattern == "points":
        return Missingness(points=float(rng.uniform(0.1, 0.9)))
    settings: dict[str, Value]
    if pattern == "gaps":
        settings = {"gaps": float(rng.uniform(0.2, 0.7)), "gap_patches": int(rng.choice([2, 5, 10, 20]))}
    else:
        settings = {"modality_by_window": float(rng.uniform(0.1, 0.6))}
    return Missingness(**settings, points=0.2 if rng.random() < 1 / 3 else 0.0)
