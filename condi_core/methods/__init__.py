"""How holes are treated before the task: one file per method, all in this registry."""

from condi_core.methods import (
    condi,
    estimate,
    fedadam,
    fedinmm,
    fedmac,
    fedmsplit,
    fednova,
    fedprox,
    last,
    linear,
    local,
    mask,
    mean,
    mifl,
    pepsy,
    pooled,
)
from condi_core.methods.method import Method

_FILES = (
    condi, local, pooled, mask, mean, last, linear, estimate, fedprox, fednova, fedadam, fedmsplit,
    fedmac, mifl, fedinmm, pepsy,
)  # fmt: skip
METHODS: dict[str, Method] = {file.METHOD.name: file.METHOD for file in _FILES}

__all__ = ["METHODS", "Method"]
