"""FedMSplit: `mask` in blocks, each averaged over sites with similar updates; a model per site.

Chen and Zhang 2022 (KDD, doi:10.1145/3534678.3539384): client models are split into blocks, each block is a
view of a graph between clients whose edges are correlations, and a client's block is aggregated from those of
its neighbours. How edges follow from the models is treated as open. Our choices: a block is what belongs to
one modality, or what all share; the correlation of two sites is the cosine between the updates of their
blocks in this round, and an edge weighs exp(cosine / TEMPERATURE) times the windows. Pairs of modalities
belong to the target's block. Sites with equal updates get what FedAvg would give them.

The task model is exchanged; the coordinator keeps a version per site and writes one file per site.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import numpy as np

from condi_core.averaging import Arrays, SiteUpdate, average, site_view
from condi_core.methods.method import Method, Positive
from condi_core.ownership import Owner

TEMPERATURE = 0.5  # our choice


def correlated_average(
    base: Arrays, owners: dict[str, Owner], updates: Sequence[SiteUpdate], temperature: float = TEMPERATURE
) -> Arrays:
    """Average for each site with weights by its correlation to all; the shared version is FedAvg's."""
    m = len(updates[0].counts)
    blocks = [_update_blocks(site_view(base, update.site), owners, update, m) for update in updates]
    result = average(base, owners, updates)
    for k, update in enumerate(updates):
        cosines = np.array(
            [[_cosine(a, b) for a, b in zip(blocks[k], other, strict=True)] for other in blocks]
        )
        edges = np.exp((cosines - cosines.max(0)) / temperature)  # (site, block); only ratios matter
        reweighted = [
            u._replace(counts=u.counts * edge[:m, None], windows=u.windows * edge[m])
            for u, edge in zip(updates, edges, strict=True)
        ]
        mixed = average(site_view(base, update.site), owners, reweighted)
        result |= {f"{update.site}/{name}": mixed[name] for name in update.arrays}
    return result


def _update_blocks(
    start: Arrays, owners: dict[str, Owner], update: SiteUpdate, modalities: int
) -> list[np.ndarray]:
    """Return a site's update as vectors: one per modality, and one of what all modalities share."""
    parts: list[list[np.ndarray]] = [[] for _ in range(modalities + 1)]
    for name, array in sorted(update.arrays.items()):
        difference, owner = array.astype(np.float64) - start[name], owners[name]
        if owner.kind == "shared":
            parts[modalities].append(difference.ravel())
        else:
            for row, modality in enumerate(owner.members or range(modalities)):
                parts[modality].append(difference[row].ravel())
    # The block of a modality that the site does not have changes only by weight decay, which is unrelated to
    # the site's data.
    was_trained = [*(update.counts.diagonal() > 0), True]
    return [
        np.concatenate(part) * trained if part else np.zeros(1)
        for part, trained in zip(parts, was_trained, strict=True)
    ]


def _cosine(a: np.ndarray, b: np.ndarray) -> float:
    """Return the cosine between two updates; 0 where one of them is zero."""
    lengths = np.linalg.norm(a) * np.linalg.norm(b)
    return float(a @ b / lengths) if lengths else 0.0


def make_fedmsplit(temperature: Positive = TEMPERATURE) -> Method:
    """Make the method with another temperature of the weights of edges."""
    combine = partial(correlated_average, temperature=temperature)
    return Method(
        "fedmsplit", "zeros and mask, FedMSplit", label="FedMSplit", combine=combine, make=make_fedmsplit
    )


METHOD = make_fedmsplit()
