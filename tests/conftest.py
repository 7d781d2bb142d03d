"""What tests share: pyproject's settings made small, a small federation, and a whole run in this process."""

import json
import os
import re
import socket
import tomllib
from pathlib import Path

import platformdirs
import pytest
import torch
from cryptography.hazmat.primitives.asymmetric import ec
from typer.testing import CliRunner

from client_app.app import app as client_app
from condi_core.config import RunConfig, flatten
from server_app.app import coordinate
from server_app.cli import app
from tests.helpers.finished_runs import run_in, write_hostile
from tests.helpers.local_grid import LocalGrid
from tests.helpers.tiny_federation import write_tiny
from tests.helpers.tls import Authority, write_key

# Ray gives way to every other process, and two tests at once are such: sites would answer too late.
os.environ.setdefault("RAY_worker_niceness", "0")

PROJECT = Path(__file__).parent.parent

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


def flat_defaults() -> dict:
    """The run's settings as Flower hands them over."""
    table = tomllib.loads((PROJECT / "pyproject.toml").read_text())["tool"]["flwr"]["app"]["config"]
    return flatten(table)


@pytest.fixture(scope="session")
def small_settings():
    """`small_settings(**changes)`: a run of seconds; underscores for dots, or a dict."""

    def make(changes: dict | None = None) -> dict:
        return flat_defaults() | SMALL | (changes or {})

    return make


@pytest.fixture(autouse=True)
def one_thread():
    torch.set_num_threads(1)


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    """Completed windows of a test stay in the test's folder."""
    monkeypatch.setattr(platformdirs, "user_cache_path", lambda *_, **__: tmp_path / "cache")


@pytest.fixture
def federation(tmp_path):
    """Three sites, of which site-0 lacks modality d and site-1 modality a."""
    return write_tiny(tmp_path / "federation", lacking={0: ("d",), 1: ("a",)})


@pytest.fixture(scope="session")
def made(tmp_path_factory, small_settings):
    """Federation and run of a task with one label a window, at sites with names that are markup."""
    folder = tmp_path_factory.mktemp("made")
    federation = write_hostile(folder / "federation", task="single-label", label_rule="<i>by</i> frequency")
    return federation, run_in(folder, federation, small_settings({"compare-with": "mask", "name": "whole"}))


@pytest.fixture
def run_local(tmp_path, small_settings):
    """`run_local(federation, changes, tamper)`: a whole run in this process; returns directory and grid."""

    def run(federation, changes=None, tamper=None, nodes=2, device="cpu"):
        settings = small_settings(
            {"federation": str(federation), "output": str(tmp_path / "runs")} | (changes or {})
        )
        node = {"num-partitions": nodes, "device": device}
        grid = LocalGrid(client_app, [node | {"partition-id": i} for i in range(nodes)], settings, tamper)
        return coordinate(grid, RunConfig.from_flat(settings)), grid

    return run


@pytest.fixture
def settings(small_settings, tmp_path):
    """`settings(**changes)`: pairs for a run in `tmp_path / "runs"`; double underscores for dots."""

    def make(**changes):
        given = small_settings({k.replace("__", ".").replace("_", "-"): v for k, v in changes.items()})
        given |= {"output": str(tmp_path / "runs"), "federation": ""}
        return " ".join(f"{key}={json.dumps(value)}" for key, value in given.items())

    return make


@pytest.fixture
def authority(tmp_path):
    return Authority(tmp_path / "federation-ca")


@pytest.fixture
def site(tmp_path, federation, authority):
    """`site(server, host, **options)`: status, and what is printed by the name of each check."""
    key = write_key(tmp_path / "site.key", ec.generate_private_key(ec.SECP384R1()))
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        free = probe.getsockname()[1]

    def call(
        at: int, host: str = "localhost", check: bool = True, **options
    ) -> tuple[int, dict[str, tuple[str, str]]]:
        given = {
            "data": federation / "site-0",
            "superlink": f"{host}:{at}",
            "root-certificates": authority.file,
            "key": key,
            "cache": tmp_path / "cache",
            "port": free,
            "device": "cpu",
        } | {name.replace("_", "-"): value for name, value in options.items()}
        arguments = [f"--{name}={value}" for name, value in given.items()]
        done = CliRunner().invoke(app, ["site", *["--check"] * check, *arguments])
        assert not isinstance(done.exception, Exception), done.exception
        lines = [re.fullmatch(r"([✓✗!-]) (\S+) +(.*)", line) for line in done.output.splitlines()]
        return done.exit_code, {m[2]: (m[1], m[3]) for m in lines if m}

    return call
