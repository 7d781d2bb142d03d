"""Methods with options as the methods of a study: "fedprox mu=0.1" is a method beside "fedprox"."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from condi_core.config import RunConfig
from condi_core.methods import METHODS
from condi_core.settings_text import parse_values


def split_variant(variant: str) -> tuple[str, dict[str, Any]]:
    """Return the name of a method and its options.

    Raises
    ------
    ValueError
        The options are not pairs such as "mu=0.1".
    """
    name, _, options = variant.strip().partition(" ")
    return name, parse_values(options)


def method_of_variant(variant: str) -> str:
    """Return the name of the method."""
    return split_variant(variant)[0]


def write_variant(name: str, options: Mapping[str, Any]) -> str:
    """Write a method and its options in one form, whichever way they were written before."""
    return " ".join([name, *(f"{key}={value}" for key, value in sorted(options.items()))])


def variant_in_run(method: str, config: RunConfig) -> str:
    """Return a method with the options that a run has given it."""
    return write_variant(method, config.options_of(method))


def options_setting(variants: Iterable[str]) -> str:
    """Return the setting `method-options` of a run with these variants."""
    return " ".join(
        f"{name}.{key}={value}"
        for name, options in map(split_variant, variants)
        for key, value in options.items()
    )


def share_runs(rates: Mapping[str, float]) -> list[dict[str, float]]:
    """Divide variants, each with its learning rate, among runs.

    A run has a method once and trains one imputer.
    """
    runs: list[dict[str, float]] = []
    for variant, rate in rates.items():
        fitting = (run for run in runs if all(_fit_together(variant, other) for other in run))
        run = next(fitting, None)
        if run is None:
            runs.append(run := {})
        run[variant] = rate
    return runs


def _fit_together(variant: str, other: str) -> bool:
    names = method_of_variant(variant), method_of_variant(other)
    trained = [METHODS[name] for name in names if METHODS[name].imputer_training != "none"]
    return names[0] != names[1] and len({method.imputer for method in trained}) < 2
