"""Runs that cannot start: the coordinator gets one sentence, and nothing is written."""

import json
import logging
import shutil
from copy import deepcopy

import numpy as np
import pytest
from flwr.app import Array, ArrayRecord, Context, RecordDict

from client_app.app import app as client_app
from condi_core.config import RunConfig
from data_partitions.manifest import Modality
from server_app.app import main
from server_app.errors import RunError, RunErrorFilter
from server_app.federation import roll_call
from server_app.federation.roster_collection import collect_roster
from tests.helpers.local_grid import LocalGrid
from tests.helpers.site_partition import write_site
from tests.helpers.tiny_federation import manifest, write_tiny


@pytest.fixture
def refusal(tmp_path, small_settings):
    """`refusal(sites, changes)`: why a run of sites with a node each does not start."""

    def run(sites=(), changes=None):
        defaults = {"output": str(tmp_path / "runs"), "sites-timeout": 0.1, "min-sites": max(len(sites), 1)}
        settings = small_settings(defaults | (changes or {}))
        nodes = [{"data": str(path), "cache": str(tmp_path / "cache")} for path in sites]
        context = Context(run_id=1, node_id=0, node_config={}, state=RecordDict(), run_config=settings)
        with pytest.raises(RunError) as refused:
            main(LocalGrid(client_app, nodes, settings), context)
        assert not (tmp_path / "runs").exists()
        assert "\n" not in str(refused.value)
        return str(refused.value)

    return run


def in_units(unit):
    return tuple(
        Modality(name=n, unit=unit, rate=50.0, samples_per_patch=5, present=True)
        for n in ("a", "b", "c", "d")
    )


def test_a_reason_that_sites_of_a_simulation_share_is_given_once(small_settings):
    settings = small_settings({})
    calls = roll_call.RollCall(LocalGrid(client_app, [], settings), RunConfig.from_flat(settings), set())
    calls.virtual = True
    calls.problem_nodes = {"node 1": 1, "node 2": 2, "node 3": 3}
    calls.problems = dict.fromkeys(calls.problem_nodes, "nothing can be written to /cache")
    with pytest.raises(RunError, match="^the federation cannot start: nothing can be written to /cache$"):
        roll_call.compatible_sites(calls)


@pytest.mark.parametrize(
    ("changes", "difference"),
    [
        ({"dataset": "other"}, "dataset is other, expected waves"),
        ({"modalities": in_units("uV")}, "a has unit uV, expected mV"),
        ({"modalities": in_units("mV")[:3]}, "modalities are a, b, c, expected a, b, c, d"),
        ({"patches": 6}, "patches is 6, expected 12"),
        ({"labels": ("slow", "quick")}, "labels are slow, quick, expected slow, fast"),
    ],
)
def test_sites_that_disagree_are_named_with_the_difference(tmp_path, refusal, changes, difference):
    sites = [write_site(tmp_path / f"site-{i}", **(changes if i == 2 else {})) for i in range(3)]
    message = refusal(sites)
    assert "2 connected" in message and "site-2: it does not fit" in message and difference in message


def test_a_site_with_another_description_is_named_with_the_setting_that_differs(tmp_path, refusal):
    texts = ['window.take = "all"\n', 'window.take = "all"\n', 'window.take = "first"\x1b[2J\n']
    sites = [write_site(tmp_path / f"site-{i}", description=text) for i, text in enumerate(texts)]
    message = refusal(sites)
    assert 'dataset.toml differs in `window.take`: "first"?[2J, expected "all"' in message


def test_two_sites_of_one_name(tmp_path, refusal):
    (tmp_path / "x").mkdir()
    sites = [write_site(tmp_path / "site-1"), write_site(tmp_path / "x" / "site-1")]
    assert "two sites are called site-1" in refusal(sites)


def test_a_site_without_training_windows(tmp_path, refusal):
    sites = [write_site(tmp_path / "site-0"), write_site(tmp_path / "site-1", sizes={"train": 0})]
    assert "excluded: site-1: it has no training windows" in refusal(sites)


def test_a_site_with_every_sample_missing(tmp_path, refusal):
    sites = [write_site(tmp_path / "site-0"), write_site(tmp_path / "site-1", empty=True)]
    assert "site-1: it has no observed sample in its training windows" in refusal(sites)


def test_a_modality_that_no_site_has(tmp_path, refusal):
    without_c = {"modalities": manifest("x", {"train": 0, "val": 0, "test": 0}, ("c",)).modalities}
    sites = [write_site(tmp_path / f"site-{i}", **without_c) for i in range(2)]
    assert "has an observed training sample of c: start" in refusal(sites)


def test_too_few_sites(tmp_path, refusal):
    sites = [write_site(tmp_path / "site-0")]
    assert "expected at least 2 sites within 0.1 s, but 1 connected" in refusal(sites, {"min-sites": 2})
    assert "expected at least 1 sites within 0.1 s, but 0 connected" in refusal([])


def test_all_bad_settings_are_reported_at_once(refusal):
    bad = {"imputer.step": 3, "task.rounds": "six", "methods": "condi"}
    bad |= {"missingness.gaps": 1.5, "missingness.burst": 0.1, "test-missingness": "points=many"}
    message = refusal(changes=bad)
    assert "'imputer.step' (did you mean 'imputer.steps'?)" in message
    assert "'task.rounds'" in message and "got 'six'" in message
    assert "'methods' (did you mean 'method'?)" in message
    assert "'missingness.gaps': expected a share from 0 to 1, got 1.5" in message
    assert "'missingness.burst' (did you mean 'missingness.bursts'?)" in message
    assert "'test-missingness': points: expected a share from 0 to 1, got 'many'" in message


def test_unknown_method(refusal):
    message = refusal(changes={"method": "magic"})
    assert message == "setting 'method': unknown method 'magic' (did you mean 'fedmac'?)"


def test_a_site_that_lacks_a_package_of_the_run_is_excluded(tmp_path, refusal, monkeypatch):
    monkeypatch.setattr(roll_call, "list_packages", lambda methods: '[["own", "own-method", "1.0", "0"]]')
    assert (
        "excluded: node 1000: this site lacks the package own-method 1.0, from which the run has its method "
        "'own': install it, or choose other methods" in refusal([write_site(tmp_path / "site-0")])
    )


def test_a_missing_federation_is_reported(tmp_path, refusal):
    message = refusal(changes={"federation": str(tmp_path / "nothing")})
    assert f"there is no federation at {tmp_path / 'nothing'}" in message and "condi prepare" in message


def test_details_of_broken_data_stay_at_the_hospital(tmp_path, refusal, capsys):
    """Paths and record ids of a broken partition are logged at the site, and not sent to the coordinator."""
    site = write_site(tmp_path / "site-0")
    values = np.load(site / "values" / "b.npy")
    values[3, 0, 0] = np.inf
    np.save(site / "values" / "b.npy", values)
    message = refusal([site, write_site(tmp_path / "site-1")])
    assert "its own log says why" in message
    assert "site-0-3" not in message and str(tmp_path) not in message
    assert "row 3 (record site-0-3)" in capsys.readouterr().out


def test_the_text_of_an_unexpected_error_stays_at_the_hospital(tmp_path, refusal, capsys, monkeypatch):
    def fail(site):
        raise RuntimeError(f"record of patient 4711 of {site.name}")

    monkeypatch.setattr("client_app.node.imputer_phase.compute_standardising_sums", fail)
    message = refusal([write_site(tmp_path / "site-0")])
    assert "the site failed with RuntimeError; its own log says why" in message and "4711" not in message
    captured = capsys.readouterr()
    assert "record of patient 4711" in captured.out + captured.err


def test_relative_data_directory(tmp_path, refusal, capsys):
    refusal(["data/site-0"])
    assert "must be an absolute path, got 'data/site-0'" in capsys.readouterr().out


def test_a_node_without_data(tmp_path, small_settings, capsys):
    settings = small_settings({"output": str(tmp_path / "runs"), "sites-timeout": 0.1})
    context = Context(run_id=1, node_id=0, node_config={}, state=RecordDict(), run_config=settings)
    with pytest.raises(RunError, match="its own log says why"):
        main(LocalGrid(client_app, [{"device": "cpu"}], settings), context)
    assert "--node-config 'data=" in capsys.readouterr().out


@pytest.mark.parametrize("nodes", [1, 3])
def test_folders_that_were_exchanged_are_named_and_no_node_is(tmp_path, federation, small_settings, nodes):
    path = shutil.copytree(federation, tmp_path / "f")
    for old, new in (("site-0", "other"), ("site-1", "site-0"), ("other", "site-1")):
        (path / old).rename(path / new)
    settings = small_settings({"output": str(tmp_path / "runs"), "federation": str(path)})
    configs = [{"partition-id": i, "num-partitions": nodes} for i in range(nodes)]
    context = Context(run_id=1, node_id=0, node_config={}, state=RecordDict(), run_config=settings)
    with pytest.raises(RunError) as error:
        main(LocalGrid(client_app, configs, settings), context)
    sentence = f"site-0 in {path}: its partition is that of site-1: name each folder as the site that"
    assert sentence in str(error.value) and "node 1" not in str(error.value)


def test_a_folder_for_runs_that_cannot_be_written(federation, tmp_path, small_settings):
    (tmp_path / "file").write_text("in the way")
    changes = {"federation": str(federation), "output": str(tmp_path / "file" / "runs")}
    settings = small_settings(changes)
    nodes = [{"partition-id": 0, "num-partitions": 1}]
    context = Context(run_id=1, node_id=0, node_config={}, state=RecordDict(), run_config=settings)
    with pytest.raises(RunError, match="cannot make the run directory .*file/runs/.*choose another folder"):
        main(LocalGrid(client_app, nodes, settings), context)


@pytest.mark.parametrize(("device", "why"), [("gpu", "expected auto, cpu"), ("cuda:7", "has 0 CUDA device")])
def test_an_unavailable_device_is_reported(federation, small_settings, tmp_path, device, why):
    settings = small_settings({"output": str(tmp_path / "runs"), "sites-timeout": 0.1})
    node = {"data": str(federation / "site-0"), "device": device}
    context = Context(run_id=1, node_id=0, node_config={}, state=RecordDict(), run_config=settings)
    with pytest.raises(RunError, match=f"node 1000: the site's device is '{device}'.*{why}"):
        main(LocalGrid(client_app, [node], settings), context)


class LateGrid(LocalGrid):
    """Sites come online one after the other, the next after every `every` queries of the online nodes."""

    every, queries = 1, 0

    def get_node_ids(self):
        self.queries += 1
        return super().get_node_ids()[: 1 + self.queries // self.every]


@pytest.fixture
def late(federation, small_settings, tmp_path, monkeypatch):
    """`late(every, before)`: the roster with which a run with at least one site starts."""
    monkeypatch.setattr("server_app.federation.roster_collection.POLL_SECONDS", 0.01)

    def roster(every, before=None):
        settings = small_settings({"output": str(tmp_path / "runs"), "min-sites": 1})
        nodes = [{"data": str(federation / f"site-{i}"), "cache": str(tmp_path)} for i in (2, 1, 0)]
        grid = LateGrid(client_app, nodes, settings)
        grid.every = every
        return collect_roster(grid, RunConfig.from_flat(settings), lambda: "", before)[0]

    return roster


def test_sites_that_connect_in_quick_succession_all_take_part(late):
    assert set(late(every=1).sites) == {"site-0", "site-1", "site-2"}
    assert set(late(every=50).sites) == {"site-2"}


def test_a_resumed_run_waits_for_its_sites(late):
    sites = json.loads(json.dumps(late(every=1).to_json()))
    before = {name: sites[name] for name in ("site-0", "site-2")}
    assert set(late(every=5, before=before).sites) == before.keys()


def test_a_site_with_one_label_takes_part_and_is_noted(tmp_path, run_local, capsys):
    path = write_tiny(tmp_path / "federation", sites=2)
    table = path / "site-1" / "windows.csv"
    rows = table.read_text().splitlines()
    table.write_text("\n".join([rows[0]] + [r.rsplit(",", 2)[0] + ",1,0" for r in rows[1:]]) + "\n")
    directory, _ = run_local(path, {"method": "mask", "task.rounds": 1})
    assert "note: site site-1 has only the label slow in training" in capsys.readouterr().out
    assert (directory.path / "result.json").exists()


def test_a_run_completes_without_validation_and_test_windows(tmp_path, run_local):
    directory, _ = run_local(
        write_tiny(tmp_path / "federation", sites=2, val=0, test=0), {"compare-with": "mask"}
    )
    assert (directory.path / "result.json").exists()


def test_a_site_refuses_arrays_that_are_no_model(federation, run_local):
    _, grid = run_local(federation, {"imputer.rounds": 1, "task.rounds": 1})
    message = deepcopy(next(m for m in grid.sent if m.metadata.message_type == "train.imputer"))
    message.content["arrays"] = ArrayRecord({"weight": Array(np.zeros(3))})
    message.metadata.__dict__["_message_id"] = "x"
    reply = grid.app(message, grid.contexts[message.metadata.dst_node_id])
    assert "the coordinator's message cannot be used: its arrays are not packed" in reply.error.reason


def test_a_run_error_is_logged_as_one_sentence(caplog):
    log = logging.getLogger("test of the filter")
    log.addFilter(RunErrorFilter())
    try:
        raise RunError("three sites are missing")
    except RunError as error:
        log.error("%s raised an exception", "ServerApp", exc_info=error)
    assert caplog.records[0].getMessage() == "three sites are missing" and not caplog.records[0].exc_info
