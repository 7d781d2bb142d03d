"""Runs that go on without a site that has left for good, or cannot start without one that is excluded."""

from __future__ import annotations

import shutil

import numpy as np
import pytest
from safetensors.numpy import load_file

from client_app.app import app as client_app
from condi_core.config import RunConfig
from condi_core.run_files import read_history
from server_app.app import coordinate
from server_app.artifacts.run_directory import RunDirectory
from server_app.errors import RunError
from tests.helpers.local_grid import LocalGrid
from tests.helpers.tiny_federation import write_tiny


@pytest.fixture(autouse=True)
def _no_waiting(monkeypatch):
    monkeypatch.setattr("server_app.federation.roster_collection.POLL_SECONDS", 0.01)


@pytest.fixture
def hospitals(tmp_path):
    """Node configs of three sites, registered by name, of which only site-2 has modality d."""
    folder = write_tiny(tmp_path / "federation", sites=3, missing_modalities={0: ("d",), 1: ("d",)})
    return [
        {"data": str(folder / name), "cache": str(tmp_path / "cache" / name), "registered": name}
        for name in ("site-0", "site-1", "site-2")
    ]


@pytest.fixture
def run(tmp_path, small_settings):
    """`run(nodes, changes, tamper)`: a run of hospitals in both phases; its directory, and the grid."""

    def run(nodes, changes, tamper=None):
        common = {"output": str(tmp_path / "runs"), "sites-timeout": 0.3, "min-sites": 2, "imputer.rounds": 1}
        settings = small_settings(common | changes)
        grid = LocalGrid(client_app, nodes, settings, tamper)
        return coordinate(grid, RunConfig.from_flat(settings)).path, grid

    return run


@pytest.mark.slow
def test_a_run_goes_on_without_a_site_that_has_left_for_good(hospitals, run, tmp_path, monkeypatch, capsys):
    class Killed(BaseException):
        pass

    def save_and_die(self, state):
        save(self, state)
        raise Killed

    save = RunDirectory.save
    with monkeypatch.context() as patch, pytest.raises(Killed):
        patch.setattr(RunDirectory, "save", save_and_die)
        run(hospitals, {"name": "left"})
    shutil.copytree(tmp_path / "runs" / "left", tmp_path / "runs" / "silent")
    resume = {"resume": str(tmp_path / "runs" / "left")}
    with pytest.raises(RunError, match="site-2 did not connect .* left for good, by sites='site-0,site-1'$"):
        run(hospitals[:2], resume)
    with pytest.raises(RunError, match="^site-7 did not connect"):
        run(hospitals[:2], resume | {"sites": "site-0,site-7"})

    capsys.readouterr()
    left, _ = run(hospitals[:2], resume | {"sites": "site-0,site-1"})
    assert "excluded: site-2: it took part when the run started, and `sites` does not name it" in (
        capsys.readouterr().out
    )
    first, *others = read_history(left)
    assert len(first["site-seconds"]) == 3 and {len(line["site-seconds"]) for line in others} == {2}

    def silence(request, reply):
        is_described = request.metadata.message_type == "query.describe"
        return reply if is_described or request.metadata.dst_node_id != 1002 else None

    silent, _ = run(hospitals, {"resume": str(tmp_path / "runs" / "silent")}, silence)
    for model in ("imputer", "task-condi"):
        weights, expected = (load_file(path / f"{model}.safetensors") for path in (left, silent))
        for name in expected:
            np.testing.assert_array_equal(weights[name], expected[name], err_msg=name)


def test_a_run_that_cannot_start_names_who_was_excluded_and_tells_them(hospitals, run, capsys):
    hospitals[2]["registered"] = "site-9"
    with pytest.raises(RunError) as error:
        run(hospitals, {})
    assert str(error.value).startswith(
        "no site that takes part (site-0, site-1) has an observed training sample of d: start the sites that "
        "have, or prepare the federation without these modalities; excluded: site-9: it is registered as"
    )
    notice = "condi: the coordinator excluded this site from the run: it is registered as site-9"
    assert notice in capsys.readouterr().out
    with pytest.raises(
        RunError, match="^expected at least 3 sites .*; excluded: site-9: it is registered as"
    ):
        run(hospitals, {"min-sites": 3})
    assert notice in capsys.readouterr().out
