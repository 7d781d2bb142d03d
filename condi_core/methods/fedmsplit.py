"""FedMSplit: `mask` in blocks, each averaged over the sites whose block moves alike; a model per site.

Chen and Zhang 2022 (KDD, doi:10.1145/3534678.3539384): client models are split into blocks, each block is a
view of a graph between clients whose edges are correlations, and a client's block is made from those of its
neighbours. How edges follow from the models is taken as open. Chosen: a block is what belongs to one
modality, or what all share; the correlation of two sites is the cosine between the updates of their blocks
in this round, and an edge weighs exp(cosine / TEMPERATURE) times the windows. Pairs of modalities go with
the target. Sites that move alike get what FedAvg would give them.

Travels: the task model; the coordinator keeps a version per site and writes one file per site.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from condi_core.averaging import Arrays, SiteUpdate, average, site_view
from condi_core.methods.method import Method
from condi_core.ownership import Owner

TEMPERATURE = 0.5  # chosen


def correlated_average(base: Arrays, owners: dict[str, Owner], trained: Sequence[SiteUpdate]) -> Arrays:
    """For each site the average weighted by its correlation with all; the shared version is FedAvg's."""
    m = len(trained[0].counts)
    blocks = [_blocks(site_view(base, t.site), owners, t, m) for t in trained]
    result = average(base, owners, trained)
    for k, site in enumerate(trained):
        edges = [[_cosine(one, two) for one, two in zip(blocks[k], b, strict=True)] for b in blocks]
        near = np.exp(np.array(edges) / TEMPERATURE)  # (site, block)
        weighted = [
            t._replace(counts=t.counts * edge[:m, None], windows=t.windows * edge[m])
            for t, edge in zip(trained, near, strict=True)
        ]
        mixed = average(site_view(base, site.site), owners, weighted)
        result |= {f"{site.site}/{name}": mixed[name] for name in site.arrays}
    return result


def _blocks(start: Arrays, owners: dict[str, Owner], t: SiteUpdate, modalities: int) -> list[np.ndarray]:
    """A site's update in this round: one vector per modality, and one of what all share."""
    parts: list[list[np.ndarray]] = [[] for _ in range(modalities + 1)]
    for name, array in sorted(t.arrays.items()):
        update, owner = array.astype(np.float64) - start[name], owners[name]
        if owner.kind == "shared":
            parts[modalities].append(update.ravel())
        else:
            for row, place in enumerate(owner.members or range(modalities)):
                parts[place].append(update[row].ravel())
    # What a site has none of moves by weight decay alone, which says nothing of its data.
    there = [*(t.counts.diagonal() > 0), True]
    return [np.concatenate(p) * has if p else np.zeros(1) for p, has in zip(parts, there, strict=True)]


def _cosine(one: np.ndarray, two: np.ndarray) -> float:
    """Of two updates; 0 where one is nothing."""
    lengths = np.linalg.norm(one) * np.linalg.norm(two)
    return float(one @ two / lengths) if lengths else 0.0


METHOD = Method("fedmsplit", "zeros and mask, FedMSplit", combine=correlated_average)
