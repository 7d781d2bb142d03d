"""FedAvg in which a site weighs its number of windows to a power: 1 is FedAvg, 0 gives all sites one weight.

The task model is that of `mask`, and is exchanged.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Annotated

from pydantic import Field

from condi_core.averaging import Arrays, SiteUpdate, average
from condi_core.methods import Method
from condi_core.ownership import Owner

POWER = 0.5


def tempered_average(
    base: Arrays, owners: dict[str, Owner], updates: Sequence[SiteUpdate], power: float
) -> Arrays:
    """Average per modality, with the windows of each site to a power."""
    factors = [update.windows ** (power - 1) for update in updates]
    tempered = [
        update._replace(counts=update.counts * factor, windows=update.windows * factor)
        for update, factor in zip(updates, factors, strict=True)
    ]
    return average(base, owners, tempered)


def make_tempered(power: Annotated[float, Field(ge=0, le=1)] = POWER) -> Method:
    """Make the method with another power, the option `tempered.power`."""
    combine = partial(tempered_average, power=power)
    return Method("tempered", "zeros and mask, tempered FedAvg", combine=combine, make=make_tempered)


METHOD = make_tempered()
