"""Fixtures for tests of whole runs; the `conftest.py` of a folder imports those that it needs."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import platformdirs
import pytest
import torch

from client_app.app import app as client_app
from condi_core.config import RunConfig
from server_app.app import coordinate
from server_app.artifacts.run_directory import RunDirectory
from tests.helpers.finished_runs import run_in, write_hostile
from tests.helpers.local_grid import LocalGrid
from tests.helpers.run_settings import as_pairs, small_run_settings
from tests.helpers.tiny_federation import write_tiny


@pytest.fixture(scope="session")
def small_settings() -> Callable[..., dict]:
    """`small_settings(changes)`: flat settings of a run of seconds."""
    return small_run_settings


@pytest.fixture(autouse=True)
def one_thread():
    torch.set_num_threads(1)


@pytest.fixture
def federation(tmp_path) -> Path:
    """Three sites; site-0 is without modality d and site-1 without modality a."""
    return write_three_sites(tmp_path / "federation")


def write_three_sites(path: Path) -> Path:
    return write_tiny(path, missing_modalities={0: ("d",), 1: ("a",)})


@pytest.fixture(scope="session")
def made(tmp_path_factory, small_settings):
    """The federation and run of a single-label task, at sites whose names are markup."""
    folder = tmp_path_factory.mktemp("made")
    federation = write_hostile(folder / "federation", task="single-label", label_rule="<i>by</i> frequency")
    return federation, run_in(folder, federation, small_settings({"compare-with": "mask", "name": "whole"}))


def run_in_process(settings: dict, nodes: int = 2, tamper=None, device: str = "cpu"):
    """Run a simulation of `nodes` nodes in this process; return its run directory and its grid."""
    node = {"num-partitions": nodes, "device": device}
    grid = LocalGrid(client_app, [node | {"partition-id": i} for i in range(nodes)], settings, tamper)
    return coordinate(grid, RunConfig.from_flat(settings)), grid


@pytest.fixture
def run_local(tmp_path, small_settings):
    """`run_local(federation, changes, tamper)`: a whole run in this process; returns directory and grid."""

    def run(federation, changes=None, tamper=None, nodes=2, device="cpu"):
        places = {"federation": str(federation), "output": str(tmp_path / "runs")}
        # All nodes are there from the start: waiting for more would only cost time.
        settings = small_settings(places | {"sites-timeout": 0.2} | (changes or {}))
        return run_in_process(settings, nodes, tamper, device)

    return run


@pytest.fixture(scope="session")
def finished_run(tmp_path_factory, small_settings):
    """`finished_run(changes, nodes)`: directory and grid of an undisturbed run of the sites of `federation`.

    Each is made once a session: a test that changes a run takes a copy.
    """
    folder = tmp_path_factory.mktemp("finished")
    federation = write_three_sites(folder / "federation")
    finished: dict[str, tuple[RunDirectory, LocalGrid]] = {}

    def run(changes: dict | None = None, nodes: int = 2):
        key = json.dumps([changes or {}, nodes], sort_keys=True)
        if key not in finished:
            name = f"run-{len(finished)}"
            places = {"federation": str(federation), "output": str(folder / "runs"), "name": name}
            with pytest.MonkeyPatch.context() as patch:
                patch.setattr(platformdirs, "user_cache_path", lambda *_, **__: folder / "cache")
                finished[key] = run_in_process(small_settings(places | (changes or {})), nodes)
        return finished[key]

    return run


@pytest.fixture
def run_copy(finished_run, tmp_path) -> Path:
    """Return the path of a finished run that a test may damage or resume."""
    return Path(shutil.copytree(finished_run()[0].path, tmp_path / "runs" / "copy"))


@pytest.fixture
def settings(small_settings, tmp_path):
    """`settings(**changes)`: pairs for a run in `tmp_path / "runs"`; double underscores for dots."""

    def make(**changes):
        run_settings = small_settings({k.replace("__", ".").replace("_", "-"): v for k, v in changes.items()})
        return as_pairs(run_settings | {"output": str(tmp_path / "runs"), "federation": ""})

    return make
