"""Readable names of the methods and the missingness of a study, for tables and figures.

Keys such as "fedmsplit" and "points=0.2" are what studies, folders and csv files have.
"""

from __future__ import annotations

from collections.abc import Iterable

from condi_core.evaluation.imputers import IMPUTER_ROWS
from condi_core.methods import METHODS, NAIVE_METHODS
from condi_core.missingness import describe_settings
from condi_core.settings_text import parse_values
from server_app.study.variants import method_of_variant, split_variant

NAIVE_IMPUTERS = [row.name for row in IMPUTER_ROWS.values() if row.naive]


def method_label(name: str) -> str:
    """Return what tables call a method: its label, or its name without one, and its options."""
    method, options = split_variant(name)
    label = (METHODS[method].label or method) if method in METHODS else method
    return f"{label} ({', '.join(f'{key}={value}' for key, value in options.items())})" if options else label


def missingness_in_words(text: str) -> str:
    """Write a missingness such as "points=0.2 gaps=0.5" as "20 % of points, 50 % in gaps".

    Parameters
    ----------
    text : pairs of settings, or a word such as "none"
    """
    if text in ("", "none"):
        return "complete"
    return describe_settings(parse_values(text)) if "=" in text else text


def naive_first(methods: Iterable[str], naive: Iterable[str] = NAIVE_METHODS) -> list[str]:
    """Order methods: naive baselines first, then the others in their order; each once."""
    unique = list(dict.fromkeys(methods))
    order = list(naive)
    return [m for m in order if m in unique] + [m for m in unique if m not in order]


def explain_labels(methods: Iterable[str]) -> str:
    """Write what the labels of methods stand for, such as "FedAvg: zeros and the mask (mask)"."""
    return "; ".join(
        f"{method_label(name)}: {METHODS[name].summary} ({name})"
        for name in naive_first(map(method_of_variant, methods))
        if name in METHODS and METHODS[name].summary != method_label(name)
    )
