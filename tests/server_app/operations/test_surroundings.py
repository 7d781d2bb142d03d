"""Surroundings of `condi run` that would break Flower or Ray: they are avoided, or refused in a sentence."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest
from flwr.cli import constant
from typer.testing import CliRunner

from data_partitions import DataError
from data_partitions.site_names import require_site_name
from data_partitions.user_cache import user_cache
from server_app.cli import app
from server_app.operations.flower_processes import FlowerProcesses
from server_app.operations.run_config import RunRejectedError
from server_app.operations.simulate import simulate
from tests.helpers.run_settings import PROJECT


@pytest.mark.parametrize("name", ["tüm", "two words", "x" * 40])
def test_a_folder_for_temporary_files_that_ray_cannot_use(tmp_path, monkeypatch, name):
    folder = Path(tempfile.mkdtemp(dir="/tmp")) / name
    folder.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    with FlowerProcesses() as processes:
        assert processes.folder.parent == Path("/tmp")


def test_a_proxy_that_speaks_socks_does_not_reach_flower(monkeypatch):
    monkeypatch.setenv("ALL_PROXY", "socks5://127.0.0.1:1080")
    with FlowerProcesses() as processes:
        assert not [name for name in processes.env if name.lower() == "all_proxy"]


def test_a_virtual_environment_at_a_path_with_a_space_is_refused(monkeypatch):
    monkeypatch.setattr(sys, "executable", "/home/an na/venv/bin/python")
    with pytest.raises(RunRejectedError, match=r"\(/home/an na/venv/bin/python\): make the virtual environm"):
        simulate({})


def test_a_comma_in_the_name_of_a_site():
    with pytest.raises(DataError, match="^'Ward A, floor 2' cannot be the name of a site: a comma separates"):
        require_site_name("Ward A, floor 2")


def test_the_cache_may_be_elsewhere(monkeypatch):
    monkeypatch.setenv("CONDI_CACHE", "/srv/cache")
    assert user_cache() == Path("/srv/cache")
    monkeypatch.setenv("CONDI_CACHE", "~/cache")
    assert user_cache() == Path.home() / "cache"
    monkeypatch.setenv("CONDI_CACHE", "cache")
    assert user_cache() == Path.cwd() / "cache"


def test_the_documented_variable_gives_each_user_a_local_superlink_of_their_own():
    name = "FLWR_LOCAL_SUPERLINK_HTTP_API_PORT"
    page = PROJECT / "docs" / "start" / "installation.md"
    assert name in page.read_text() and name in Path(constant.__file__).read_text()


@pytest.mark.slow
def test_pictures_are_drawn_in_a_notebook(federation, tmp_path):
    environment = os.environ | {"MPLBACKEND": "module://a_notebook.backend"}
    command = [sys.executable, "-c", "from server_app.cli import app; app()", "inspect", str(federation)]
    ended = subprocess.run(
        [*command, "--plot", str(tmp_path / "a.png")], env=environment, capture_output=True, text=True
    )
    assert ended.returncode == 0, ended.stderr
    assert (tmp_path / "a.png").read_bytes().startswith(b"\x89PNG")


def test_a_user_without_a_home_directory(tmp_path, monkeypatch):
    def fail():
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.setattr(Path, "home", fail)
    options = ["--data", "d", "--superlink", "localhost:1", "--root-certificates", "c", "--key", "k"]
    result = CliRunner().invoke(app, ["site", *options])
    assert result.exit_code == 2 and "has no home directory" in result.output and "HOME" in result.output
