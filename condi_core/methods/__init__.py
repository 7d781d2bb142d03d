"""How windows are completed and models trained: one file per method, all in this registry.

`METHODS` is made when it is first used, since it imports torch. The names alone need no torch.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from condi_core.methods.method import Method

    METHODS: dict[str, Method]

# Each is the name of a method, and of the module here that has it as METHOD; in the order of tables.
METHOD_NAMES = (
    "condi",
    "local",
    "pooled",
    "mask",
    "mean",
    "last",
    "linear",
    "estimate",
    "fedprox",
    "fednova",
    "fedadam",
    "fedmsplit",
    "fedmac",
    "mifl",
    "fedinmm",
    "pepsy",
)
# Baselines that train nothing to complete windows, in the order of tables.
NAIVE_METHODS = ("mask", "mean", "last", "linear", "estimate")

__all__ = ["METHODS", "METHOD_NAMES", "NAIVE_METHODS", "Method"]


def __getattr__(name: str) -> Any:
    if name == "METHODS":
        modules = (import_module(f"{__name__}.{method}") for method in METHOD_NAMES)
        value = globals()[name] = {module.METHOD.name: module.METHOD for module in modules}
        return value
    if name == "Method":
        return import_module(f"{__name__}.method").Method
    raise AttributeError(f"module '{__name__}' has no attribute '{name}'")
