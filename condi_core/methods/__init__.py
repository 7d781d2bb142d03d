"""The registry of methods: how windows are completed and models trained.

CondI's own methods are one module each; others come from the entry points of installed packages. A method is
imported when it is first looked up, since that imports torch. The names do not need torch.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from importlib import import_module
from typing import TYPE_CHECKING, Any

from condi_core.methods.plugins import Plugin, PluginError, installed_plugins
from condi_core.settings_text import suggest_name

if TYPE_CHECKING:
    from condi_core.config import RunConfig
    from condi_core.imputer.imputer import DiffusionImputer
    from condi_core.methods.method import Method
    from condi_core.windows import Schema

# Each method is METHOD of the module with its name in this package. The order is that of tables.
BUILT_IN_METHODS = (
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
PLUGINS: dict[str, Plugin]
PLUGIN_PROBLEMS: dict[str, str]  # names of other entry points, and why they are not used
PLUGINS, PLUGIN_PROBLEMS = installed_plugins(BUILT_IN_METHODS)
METHOD_NAMES = (*BUILT_IN_METHODS, *PLUGINS)

__all__ = [
    "BUILT_IN_METHODS",
    "METHODS",
    "METHOD_NAMES",
    "NAIVE_METHODS",
    "PLUGINS",
    "PLUGIN_PROBLEMS",
    "Method",
    "PluginError",
    "configure_method",
    "describe_origin",
    "describe_unknown_method",
    "find_method",
    "find_scope",
    "find_trained_imputer",
    "make_imputer",
]


def find_scope(name: str) -> str:
    """Return who trains a method's models; "federated" for a method that is not installed here."""
    try:
        return find_method(name).scope
    except (KeyError, PluginError):
        return "federated"


def find_method(name: str) -> Method:
    """Return a method.

    Raises
    ------
    KeyError
        There is none of this name.
    PluginError
        It is in a package that cannot be used; the message says why.
    """
    if name in BUILT_IN_METHODS:
        return import_module(f"{__name__}.{name}").METHOD
    return PLUGINS[name].load()


def configure_method(name: str, config: RunConfig) -> Method:
    """Return a method with the options that a run gives it; errors as in `find_method` and `with_options`."""
    return find_method(name).with_options(config.options_of(name))


def describe_origin(name: str, config: RunConfig) -> dict[str, str]:
    """Return what the file of a model says of its method beside the name: package and options, if any."""
    origin = {"package": PLUGINS[name].source} if name in PLUGINS else {}
    options = config.options_of(name)
    return origin | {"options": json.dumps(options)} if options else origin


def find_trained_imputer(config: RunConfig) -> Method | None:
    """Return the first method of a run whose imputer phase 1 trains; all others that do have the same."""
    methods = (configure_method(name, config) for name in config.methods)
    return next((method for method in methods if method.imputer_training != "none"), None)


def make_imputer(schema: Schema, config: RunConfig) -> DiffusionImputer:
    """Make the imputer of a run's methods, with initial weights."""
    method = find_trained_imputer(config)
    if method is None:
        raise ValueError("no method of the run trains an imputer")
    return method.imputer(schema, config.imputer)


def describe_unknown_method(name: str) -> str:
    """Say that there is no method of a name, and why not, or which is similar."""
    if name in PLUGIN_PROBLEMS:
        return PLUGIN_PROBLEMS[name]
    return f"unknown method '{name}'{suggest_name(name, METHOD_NAMES, list_all=True)}"


class MethodRegistry(Mapping[str, "Method"]):
    """Methods by name, without those that cannot be imported."""

    def __getitem__(self, name: str) -> Method:
        try:
            return find_method(name)
        except PluginError:
            raise KeyError(name) from None

    def __iter__(self) -> Iterator[str]:
        return (name for name in METHOD_NAMES if name in self)

    def __len__(self) -> int:
        return sum(1 for _ in self)


METHODS = MethodRegistry()


def __getattr__(name: str) -> Any:
    if name == "Method":
        return import_module(f"{__name__}.method").Method
    raise AttributeError(f"module '{__name__}' has no attribute '{name}'")
