"""Settings of runs in tests: the defaults of pyproject.toml, and small networks for few rounds."""

from __future__ import annotations

import json
import tomllib
from pathlib import Path

from condi_core.config import flatten

PROJECT = Path(__file__).parents[2]

SMALL = {
    "min-sites": 1,
    "compare-with": "",
    "sites-timeout": 5.0,
    "imputer.relation-rounds": 1,
    "imputer.rounds": 2,
    "imputer.steps": 2,
    "imputer.batch": 4,
    "imputer.crop": 8,
    "imputer.width": 8,
    "imputer.heads": 2,
    "imputer.blocks": 1,
    "imputer.pair-width": 4,
    "imputer.samples": 2,
    "task.rounds": 2,
    "task.steps": 2,
    "task.batch": 4,
    "task.width": 8,
    "task.heads": 2,
    "task.blocks": 1,
    "task.pair-width": 4,
}
# A value other than the default for every setting of the missingness.
EVERY_MISSINGNESS = {
    "missingness.points": 0.2,
    "missingness.points-mechanism": "mnar",
    "missingness.gaps": 0.1,
    "missingness.gaps-mechanism": "mar",
    "missingness.gap-patches": 3,
    "missingness.bursts": 0.1,
    "missingness.burst-patches": 1.5,
    "missingness.blackout": 0.1,
    "missingness.modality-by-window": 0.2,
    "missingness.modality-by-site": 0.4,
    "missingness.subsample-to": 4.0,
}
PATH_SETTINGS = ("federation", "output", "name", "resume")


def flat_defaults() -> dict:
    """Return the default settings in Flower's flat form."""
    tables = tomllib.loads((PROJECT / "pyproject.toml").read_text())
    return flatten(tables["tool"]["flwr"]["app"]["config"])


def small_run_settings(changes: dict | None = None) -> dict:
    """Return flat settings of a run of seconds, with `changes`."""
    return flat_defaults() | SMALL | (changes or {})


def without_paths(settings: dict) -> dict:
    """Return the settings that are not paths; `condi run` has options for those."""
    return {key: value for key, value in settings.items() if key not in PATH_SETTINGS}


def as_pairs(settings: dict) -> str:
    """Write settings as `condi run -c` reads them."""
    return " ".join(f"{key}={json.dumps(value)}" for key, value in settings.items())
