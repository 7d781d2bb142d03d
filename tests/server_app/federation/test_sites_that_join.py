"""Sites that join a run that has begun, from its next round on: at once, or when it is resumed with them."""

from __future__ import annotations

import json
import shutil
import time

import numpy as np
import pytest
from safetensors.numpy import load_file
from typer.testing import CliRunner

from client_app.app import app as client_app
from condi_core.config import RunConfig
from condi_core.run_files import read_history
from server_app.app import coordinate
from server_app.artifacts.participation import change_joining, read_joining
from server_app.artifacts.run_directory import RunDirectory
from server_app.cli import app
from server_app.errors import RunError
from server_app.operations.simulate import _settings_of_run
from tests.helpers.local_grid import LocalGrid
from tests.helpers.tiny_federation import write_tiny
from tests.helpers.watched_run import line, write_watched_run

SITES = ("site-0", "site-1", "site-2")
ALL = {"sites": ",".join(SITES)}


class Killed(BaseException):
    pass


@pytest.fixture
def run(tmp_path, small_settings, monkeypatch):
    """`run(sites, changes, saves, admit)`: a run of registered sites, killed after a number of saves.

    `admit` has names of sites that are to join after a number of saves, by this number. Without `sites`, one
    virtual node has those of the federation.
    """
    folder = write_tiny(tmp_path / "federation", sites=3)
    common = {
        "output": str(tmp_path / "runs"),
        "sites-timeout": 0.3,
        "imputer.rounds": 2,
        "imputer.relation-rounds": 1,
        "imputer.samples": 0,
        "task.rounds": 2,
    }
    save = RunDirectory.save
    monkeypatch.setattr("server_app.federation.roster_collection.POLL_SECONDS", 0.01)

    def run(sites, changes, saves=0, admit=None):
        count = 0

        def save_and_die(self, state):
            nonlocal count
            save(self, state)
            count += 1
            if names := (admit or {}).get(count):
                change_joining(self.path, names)
            if count == saves:
                raise Killed

        settings = small_settings(common | changes)
        nodes = [
            {"data": str(folder / name), "cache": str(tmp_path / "cache" / name), "registered": name}
            for name in sites
        ] or [{"partition-id": 0, "num-partitions": 1}]
        with monkeypatch.context() as patch:
            patch.setattr(RunDirectory, "save", save_and_die)
            return coordinate(LocalGrid(client_app, nodes, settings), RunConfig.from_flat(settings)).path

    return run


@pytest.mark.slow
def test_a_site_joins_from_the_next_round_on(run, tmp_path, capsys):
    path = tmp_path / "runs" / "grows"
    with pytest.raises(Killed):
        run(SITES[::2], {"name": "grows"}, saves=2)
    before = read_history(path)
    again = shutil.copytree(path, tmp_path / "runs" / "again")
    with pytest.raises(RunError, match="site-1 did not connect"):
        run(SITES[::2], {"resume": str(path)} | ALL)

    whole = run(SITES, {"resume": str(path)} | ALL)
    assert "from the next round on with site-1" in capsys.readouterr().out
    lines = read_history(whole)
    assert [sorted(line["site-seconds"]) for line in lines[: len(before)]] == [["site-0", "site-2"]] * 2
    assert {tuple(sorted(line["site-seconds"])) for line in lines[len(before) :]} == {SITES}
    assert sorted(json.loads((path / "roster.json").read_text())) == list(SITES)

    # It belongs to the run now: interrupted again, this resumes without naming it, to the same weights.
    with pytest.raises(Killed):
        run(SITES, {"resume": str(again)} | ALL, saves=2)
    run(SITES, {"resume": str(again)})
    for model in ("imputer", "task-condi"):
        weights, expected = (load_file(folder / f"{model}.safetensors") for folder in (again, whole))
        for name in expected:
            np.testing.assert_array_equal(weights[name], expected[name], err_msg=name)


@pytest.mark.parametrize(
    ("settings", "reason"),
    [
        ({"secure-aggregation": True, "averaging": "mean"}, "secure-aggregation, whose sums"),
        ({"privacy.noise-multiplier": 1.0}, "differential privacy, which is planned"),
        ({"compare-with": "local"}, "the method local, which does not train one model"),
    ],
)
def test_a_site_cannot_join_where_a_run_depends_on_its_sites(run, tmp_path, settings, reason):
    sites = SITES[:2] if "secure-aggregation" not in settings else SITES
    path = tmp_path / "runs" / "fixed"
    with pytest.raises(Killed):
        run(sites, {"name": "fixed", "method": "mask"} | settings, saves=1)
    late = {"resume": str(path), "method": "mask", "sites": "site-0,site-9"}
    with pytest.raises(RunError, match=f"^site-9 did not .* no site can join later with {reason}"):
        run(SITES, late | settings)


@pytest.mark.slow
def test_a_site_that_is_admitted_has_the_effect_of_a_resumed_run(run, tmp_path, capsys):
    path, resumed = tmp_path / "runs" / "admits", tmp_path / "runs" / "resumed"
    with pytest.raises(Killed):
        run(SITES[::2], {"name": "resumed"}, saves=2)
    run(SITES, {"resume": str(resumed)} | ALL)
    capsys.readouterr()
    run(SITES, {"name": "admits", "sites": "site-0,site-2"}, admit={2: ["site-1", "site-9"]})
    lines = capsys.readouterr().out.splitlines()
    assert "from the next round on with site-1" in lines
    assert "cannot join: site-9: it is not connected" in lines
    assert read_joining(path) == set()
    assert sorted(json.loads((path / "roster.json").read_text())) == list(SITES)
    assert json.loads((path / "progress.json").read_text())["excluded"] == {"site-9": "it is not connected"}
    for model in ("imputer", "task-condi"):
        weights, expected = (load_file(folder / f"{model}.safetensors") for folder in (path, resumed))
        for name in expected:
            np.testing.assert_array_equal(weights[name], expected[name], err_msg=name)


def test_sites_with_other_data_cannot_join_even_if_they_are_the_majority(run, tmp_path, capsys):
    for name in SITES[:2]:
        manifest = tmp_path / "federation" / name / "manifest.json"
        manifest.write_text(manifest.read_text().replace('"waves"', '"other"'))
    alone = {"method": "mask", "compare-with": "", "sites": "site-2", "min-sites": 1}
    path = run(SITES, alone, admit={1: SITES[:2]})
    printed = capsys.readouterr().out
    for name in SITES[:2]:
        assert f"cannot join: {name}: it does not fit: its dataset is other, expected" in printed
    assert {tuple(line["site-seconds"]) for line in read_history(path)} == {("site-2",)}


def test_the_command_admits_sites_of_a_run_that_has_not_ended(tmp_path, small_settings):
    def admit(run, *names):
        options = [option for name in names for option in ("--admit", name)]
        return CliRunner().invoke(app, ["sites", str(run), *options])

    run = write_watched_run(tmp_path / "run", small_settings(), [line("imputer", 1)])
    progress = json.loads((run / "progress.json").read_text())
    (run / "progress.json").write_text(json.dumps(progress | {"status": "running", "written": time.time()}))
    shown = admit(run, "new", "late")
    assert shown.exit_code == 0 and read_joining(run) == {"new", "late"}
    assert [text.split("  ")[0] for text in shown.output.splitlines() if "joins before" in text] == [
        "late",
        "new",
    ]
    assert "north takes part in" in admit(run, "north").output
    (run / "progress.json").write_text(json.dumps(progress | {"status": "completed"}))
    assert "has ended: resume it" in admit(run, "other").output
    secure = {"secure-aggregation": True, "averaging": "mean"}
    fixed = write_watched_run(tmp_path / "fixed", small_settings(secure), [line("imputer", 1)])
    assert "no site can join a run with secure-aggregation" in admit(fixed, "other").output


MASK = {"method": "mask", "compare-with": "", "sites": "site-0,site-2"}


def test_a_simulation_is_resumed_with_a_site_that_its_setting_sites_does_not_name(run, tmp_path):
    path = tmp_path / "runs" / "simulated"
    simulated = {"name": "simulated", "federation": str(tmp_path / "federation")}
    with pytest.raises(Killed):
        run((), MASK | simulated, saves=2, admit={1: ["site-1"]})
    resumed = {"resume": str(path)}
    with pytest.raises(RunError, match="site-1 took part .* resume it without the setting sites"):
        run((), MASK | simulated | resumed)
    run((), _settings_of_run(path) | resumed)
    assert [sorted(line["site-seconds"]) for line in read_history(path)] == [list(SITES[::2]), list(SITES)]


def test_a_site_with_which_the_sampling_would_fail_cannot_join(run, monkeypatch, capsys):
    def refuse(config, roster):
        if len(roster.sites) == 3:
            raise RunError("sites-per-round=0.5 selects 1 of 3 sites")

    monkeypatch.setattr("server_app.federation.joining_sites.check_number_of_sites", refuse)
    path = run(SITES, MASK, admit={1: ["site-1"]})
    assert "cannot join: site-1: sites-per-round=0.5 selects 1 of 3 sites" in capsys.readouterr().out
    assert {tuple(sorted(line["site-seconds"])) for line in read_history(path)} == {SITES[::2]}


def test_a_site_that_is_admitted_after_the_last_round_has_begun_is_refused(run, capsys):
    path = run(SITES, MASK, admit={2: ["site-1"]})
    assert "cannot join: site-1: the run has no round left" in capsys.readouterr().out
    assert read_joining(path) == set()
