"""How holes are treated before the task: one file per method, all in this registry."""

from condi_core.methods import condi, mask
from condi_core.methods.method import Method

METHODS: dict[str, Method] = {m.name: m for m in (condi.METHOD, mask.METHOD)}

__all__ = ["METHODS", "Method"]
