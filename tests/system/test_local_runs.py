"""`condi ps` and `condi stop`: what `flwr run` and a killed `condi run` leave running."""

import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from typer.testing import CliRunner

from server_app.cli import app
from server_app.operations import local_superlinks
from server_app.operations.flower_processes import FlowerProcesses, free_port
from server_app.operations.processes import list_processes

pytestmark = pytest.mark.engine

PYPROJECT = """
[project]
name = "sleeper"
version = "1.0.0"
description = "waits"
license = "Apache-2.0"
dependencies = ["flwr"]
[tool.flwr.app]
publisher = "test"
[tool.flwr.app.components]
serverapp = "sleeper.app:server"
clientapp = "sleeper.app:client"
"""
SLEEPER = """
import time
from flwr.clientapp import ClientApp
from flwr.serverapp import ServerApp
server = ServerApp()
client = ClientApp()
@server.main()
def main(grid, context):
    time.sleep(600)
"""
KILLED = """
import os, signal
from server_app.operations.flower_processes import FlowerProcesses
processes = FlowerProcesses()
processes.start_superlink("--simulation")
print(processes.folder, flush=True)
os.kill(os.getpid(), signal.SIGKILL)
"""


def condi(*arguments: str) -> str:
    result = CliRunner().invoke(app, arguments)
    assert result.exit_code == 0, result.output
    return result.output


def show_only(monkeypatch, is_shown) -> None:
    """Hide the simulations of whoever runs the tests, which `--all` would end."""
    find = local_superlinks.find_local_superlinks
    monkeypatch.setattr(local_superlinks, "find_local_superlinks", lambda: filter(is_shown, find()))


@pytest.fixture
def sleeper(tmp_path, monkeypatch):
    """A run of `flwr run` that would wait for ten minutes: its id, and the port of its SuperLink."""
    project = tmp_path / "sleeper"
    (project / "sleeper").mkdir(parents=True)
    (project / "pyproject.toml").write_text(PYPROJECT)
    (project / "sleeper" / "__init__.py").touch()
    (project / "sleeper" / "app.py").write_text(SLEEPER)
    port = free_port()
    (tmp_path / "flwr").mkdir()
    with FlowerProcesses() as flower:  # whose environment keeps Flower off the network
        env = flower.env | {
            "FLWR_HOME": str(tmp_path / "flwr"),
            "FLWR_LOCAL_SUPERLINK_HTTP_API_PORT": str(port),
        }
        command = ["flwr", "run", ".", "--format", "json"]
        run = subprocess.run(command, cwd=project, env=env, capture_output=True, text=True)
        show_only(monkeypatch, lambda link: link.port == port)
        yield json.loads(run.stdout)["run-id"], port


def wait_until_running(run_id: str) -> str:
    deadline = time.monotonic() + 60
    while f"{run_id}  running" not in (output := condi("ps")):
        assert time.monotonic() < deadline, output
        time.sleep(0.5)
    return output


def test_what_flwr_run_leaves_running_is_shown_and_ended(sleeper, tmp_path):
    run_id, port = sleeper
    output = wait_until_running(run_id)
    (line,) = [line for line in output.splitlines() if line.startswith(run_id)]
    assert re.search(rf"running  flwr run +\d+  .* {port}  {tmp_path}/sleeper$", line)
    family = [p.pid for p in list_processes().values() if str(tmp_path) in " ".join(p.command)]
    assert "no run 12 is in progress" in CliRunner().invoke(app, ["stop", "12"]).output

    assert condi("stop", run_id) == f"stopped run {run_id}\n"
    output = condi("ps")
    assert run_id not in output and f"  {port}  " in output  # the SuperLink goes on, without a run

    assert f"ended the SuperLink at port {port}" in condi("stop", "--all")
    assert str(port) not in condi("ps")
    assert not set(family) & list_processes().keys()


def test_what_a_killed_condi_run_leaves_is_ended_and_its_folder_removed():
    killed = subprocess.run([sys.executable, "-c", KILLED], capture_output=True, text=True)
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    folder = Path(killed.stdout.strip())
    (link,) = [link for link in local_superlinks.find_local_superlinks() if link.folder == folder]
    assert link.starter == "condi run, which was killed" and link.runs() == []
    assert link.process.pid in list_processes()
    link.end()
    assert not folder.exists() and link.process.pid not in list_processes()


def test_the_superlink_of_a_condi_run_in_progress_is_left_to_it(monkeypatch):
    with FlowerProcesses() as processes:
        superlink = processes.start_superlink("--simulation")
        show_only(monkeypatch, lambda link: link.folder == processes.folder)
        (link,) = local_superlinks.find_local_superlinks()
        assert (link.starter, link.process.parent) == ("condi run", os.getpid())
        condi("stop", "--all")
        assert superlink.poll() is None
