"""The registry of methods: how windows are completed and models trained, with one module per method.

`METHODS` is built when it is first used, since it imports torch. The names do not need torch.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from condi_core.methods.method import Method

    METHODS: dict[str, Method]

# Each method is METHOD of the module with its name in this package. The order is that of tables.
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
    "pamf",
    "robust",
)
# Baselines that complete windows without training a network, in the order of tables.
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
