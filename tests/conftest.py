"""Settings for tests: pyproject's defaults, made small."""

import os
import tomllib
from pathlib import Path

import pytest

# Ray gives way to every other process, and two tests at once are such: sites would answer too late.
os.environ.setdefault("RAY_worker_niceness", "0")

PROJECT = Path(__file__).parent.parent

SMALL = {
    "min-sites": 1,
    "beside": "",
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


def flat_defaults() -> dict:
    """The run's settings as Flower hands them over."""
    table = tomllib.loads((PROJECT / "pyproject.toml").read_text())["tool"]["flwr"]["app"]["config"]
    flat = {}
    for key, value in table.items():
        flat |= {f"{key}.{k}": v for k, v in value.items()} if isinstance(value, dict) else {key: value}
    return flat


@pytest.fixture(scope="session")
def small_settings():
    """`small_settings(**changes)`: a run of seconds; underscores for dots, or a dict."""

    def make(changes: dict | None = None) -> dict:
        return flat_defaults() | SMALL | (changes or {})

    return make
