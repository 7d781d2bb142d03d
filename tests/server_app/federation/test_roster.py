"""Hospitals by name: which are asked, which are excluded and notified, and which a run waits for."""

import json
import time

import numpy as np
import pytest
from flwr.app import Error, Message
from safetensors.numpy import load_file

from client_app.app import app as client_app
from condi_core.config import RunConfig
from condi_core.protocol import POLICY_REFUSED
from condi_core.run_files import read_history
from server_app.app import coordinate
from server_app.errors import RunError
from tests.helpers.local_grid import LocalGrid
from tests.helpers.site_partition import write_site


@pytest.fixture(autouse=True)
def no_waiting(monkeypatch):
    monkeypatch.setattr("server_app.federation.roster_collection.POLL_SECONDS", 0.01)
    monkeypatch.setattr("server_app.federation.rounds.POLL_SECONDS", 0.01)
    monkeypatch.setattr("server_app.federation.messaging.POLL_SECONDS", 0.01)


@pytest.fixture
def hospitals(tmp_path):
    """Node configs of three sites, registered by name."""
    paths = [write_site(tmp_path / f"site-{i}") for i in range(3)]
    return [
        {"data": str(path), "cache": str(tmp_path / "cache" / path.name), "registered": path.name}
        for path in paths
    ]


ONE_ROUND = {"method": "mask", "task.rounds": 1}
BOTH_PHASES = {"method": "condi", "imputer.samples": 0, "task.rounds": 2}


@pytest.fixture
def run(tmp_path, small_settings):
    """`run(nodes, changes)`: a run of hospitals of phase 2 alone; the directory of it, and the grid."""

    def run(nodes, changes=None, tamper=None, grid=LocalGrid):
        places = {"output": str(tmp_path / "runs"), "sites-timeout": 0.3, "min-sites": 2}
        settings = small_settings(places | ONE_ROUND | (changes or {}))
        nodes_grid = grid(client_app, nodes, settings, tamper)
        return coordinate(nodes_grid, RunConfig.from_flat(settings)), nodes_grid

    return run


def roster_of(directory):
    return list(json.loads((directory.path / "roster.json").read_text()))


def test_a_site_that_does_not_fit_is_excluded_and_notified(hospitals, run, tmp_path, capsys):
    odd = write_site(tmp_path / "x" / "site-1", patches=6) if (tmp_path / "x").mkdir() is None else None
    hospitals[1]["data"] = str(odd)
    directory, grid = run(hospitals)
    assert roster_of(directory) == ["site-0", "site-2"]
    out = capsys.readouterr().out
    assert "excluded: site-1: it does not fit: its patches is 6, expected 12" in out
    assert "condi: the coordinator excluded this site from the run: it does not fit" in out
    assert {m.metadata.dst_node_id for m in grid.sent if m.metadata.message_type == "query.left_out"} == {
        1001
    }


def refuse_by_policy(*names):
    """A `tamper` argument: the policies of these sites refuse whatever they are asked."""
    nodes = {1000 + int(name[-1]) for name in names}

    def refuse(request, reply):
        if request.metadata.dst_node_id not in nodes:
            return reply
        return Message(Error(POLICY_REFUSED, "site.py differs from the installed one"), reply_to=request)

    return refuse


def test_a_run_that_every_policy_refuses_ends_at_once(hospitals, run):
    every_site = refuse_by_policy("site-0", "site-1", "site-2")
    start = time.monotonic()
    with pytest.raises(RunError, match="the policy of every connected site refuses the run") as ended:
        run(hospitals, {"sites-timeout": 30.0}, every_site)
    assert time.monotonic() - start < 10
    assert str(ended.value).count("site.py differs from the installed one") == 3


def test_refusals_are_printed_once_before_a_run_of_too_few_sites_ends(hospitals, run, capsys):
    with pytest.raises(RunError, match="2 sites within 0.3 s, but 1 connected.*excluded: site-1: site.py"):
        run(hospitals[:2], tamper=refuse_by_policy("site-1"))
    assert capsys.readouterr().out.count("cannot take part: site-1: site.py differs from the installed") == 1


def test_a_node_with_the_data_of_another_site_is_excluded(hospitals, run, capsys):
    hospitals[2]["data"] = hospitals[0]["data"]
    directory, _ = run(hospitals)
    assert roster_of(directory) == ["site-0", "site-1"]
    assert (
        "site-2: it is registered as site-2, but its partition is that of site-0: start it with the "
        "partition of site-2, or register it as site-0" in capsys.readouterr().out
    )


def test_two_nodes_of_one_name_stop_the_run(hospitals, run):
    hospitals[2] |= {"data": hospitals[0]["data"], "registered": "site-0"}
    with pytest.raises(RunError, match="two sites are called site-0"):
        run(hospitals)


@pytest.mark.parametrize(
    ("change", "why"),
    [
        (lambda site: {"name": site["name"]}, "cannot be read"),
        (lambda site: site | {"sums": [[1, 2, 3]]}, "not those of its modalities"),
        (lambda site: site | {"sums": np.full((4, 3), np.nan).tolist()}, "not finite"),
        (lambda site: site | {"labels": {k: [-1, 2] for k in site["labels"]}}, "negative"),
        (lambda site: site | {"manifest": site["manifest"] | {"patches": -3}}, "cannot be read"),
        (lambda site: [1, 2], "cannot be read"),
        (
            lambda site: site | {"manifest": site["manifest"] | {"site": "site-0"}},
            "partition is that of site-0",
        ),
        (lambda site: site | {"sums": [[1, 1e300, 0]] * 4}, "values beyond 1e+09"),
        (lambda site: site | {"sums": [[1e9, 0, 0]] * 4}, "more samples than its windows have"),
        (lambda site: site | {"sums": [[10**400, 0, 0]] * 4}, "cannot be read"),
    ],
)
def test_a_malformed_description_excludes_only_that_site(hospitals, run, change, why, capsys):
    def tamper(request, reply):
        if request.metadata.message_type == "query.describe" and request.metadata.dst_node_id == 1002:
            config = reply.content["config"]
            config["sites"] = [json.dumps(change(json.loads(config["sites"][0])))]
            config["virtual"] = config["wants-federation"] = True
        return reply

    directory, _ = run(hospitals, tamper=tamper)
    assert roster_of(directory) == ["site-0", "site-1"]
    assert why in capsys.readouterr().out


def test_an_error_without_a_reason_excludes_only_that_site(hospitals, run, capsys):
    def tamper(request, reply):
        failing = request.metadata.message_type == "query.describe" and request.metadata.dst_node_id == 1002
        return Message(Error(2), reply_to=request) if failing else reply

    directory, _ = run(hospitals, tamper=tamper)
    assert roster_of(directory) == ["site-0", "site-1"]
    assert "excluded: site-2: no reason given" in capsys.readouterr().out


def test_names_may_have_non_ascii_characters_and_nodes_need_one(tmp_path, hospitals, run, capsys):
    path = write_site(tmp_path / "Zürich-3")
    hospitals[0] |= {"data": str(path), "registered": "Zürich-3"}
    del hospitals[1]["registered"]
    directory, _ = run(hospitals)
    assert sorted(roster_of(directory)) == ["Zürich-3", "site-2"]
    assert "excluded: node 1001: it is registered without a name" in capsys.readouterr().out


def test_a_run_limited_to_named_sites_asks_no_others(hospitals, run):
    directory, grid = run(hospitals, {"sites": "site-2, site-0"})
    assert roster_of(directory) == ["site-0", "site-2"]
    assert {m.metadata.dst_node_id for m in grid.sent} == {1000, 1002}


def test_a_named_site_that_does_not_connect_is_waited_for_and_reported(hospitals, run, capsys):
    with pytest.raises(RunError, match="site-7 did not connect within 3 s: start every site of the run"):
        run(hospitals, {"sites": "site-0,site-7", "min-sites": 1, "sites-timeout": 3.0})
    assert "not connected yet: site-7" in capsys.readouterr().out


def test_a_simulation_knows_its_sites(federation, run_local):
    with pytest.raises(RunError, match="no site site-9: it has site-0, site-1, site-2"):
        run_local(federation, {"sites": "site-9,site-1"})
    directory, _ = run_local(federation, ONE_ROUND | {"sites": "site-2"})
    assert roster_of(directory) == ["site-2"]


class Flickering(LocalGrid):
    """site-1 and site-2 are offline from their first imputer round, for some queries of the online nodes."""

    offline_queries, queries = 6, None

    def push_messages(self, messages):
        messages = list(messages)
        undelivered = []
        for message in messages:
            round_ = message.metadata.message_type == "train.imputer"
            if (
                round_
                and message.metadata.group_id != "site-0"
                and (self.queries or 0) < self.offline_queries
            ):
                self.queries = self.queries or 0
                undelivered.append(message)
        ids = super().push_messages([m for m in messages if m not in undelivered])
        for number, message in enumerate(undelivered):
            message.metadata.__dict__["_message_id"] = f"undelivered-{number}"
            self.replies[f"undelivered-{number}"] = Message(Error(5, "node unavailable"), reply_to=message)
            ids.append(f"undelivered-{number}")
        return ids

    def get_node_ids(self):
        nodes = super().get_node_ids()
        if self.queries is not None and self.queries < self.offline_queries:
            self.queries += 1
            return nodes[:1]
        return nodes


@pytest.mark.slow
def test_a_round_waits_for_offline_sites_and_is_repeated(hospitals, run, capsys):
    unbroken, _ = run(hospitals, BOTH_PHASES | {"name": "unbroken"})
    capsys.readouterr()
    directory, _ = run(hospitals, BOTH_PHASES | {"name": "away", "sites-timeout": 60.0}, grid=Flickering)
    assert "waiting for site-1, site-2" in capsys.readouterr().out
    for model in ("imputer", "task-condi"):
        one, two = (load_file(d.path / f"{model}.safetensors") for d in (unbroken, directory))
        assert all(np.array_equal(one[k], two[k]) for k in one)
    assert not any(line["failures"] for line in read_history(directory.path))


def test_a_round_is_repeated_only_once_after_the_wait(hospitals, run):
    """site-2 stays offline, without which there would be enough sites; site-1 is online and always fails."""

    class Away(LocalGrid):
        asked = 0

        def get_node_ids(self):
            return super().get_node_ids()[: 2 if self.asked else 3]

        def push_messages(self, messages):
            messages = list(messages)
            self.asked += any(m.metadata.message_type == "train.imputer" for m in messages)
            assert self.asked < 5
            return super().push_messages(messages)

    def tamper(request, reply):
        failing = request.metadata.group_id != "site-0" and request.metadata.message_type == "train.imputer"
        return Message(Error(2, "no memory"), reply_to=request) if failing else reply

    with pytest.raises(RunError, match="only 1 of 3 sites sent a valid reply.*resume="):
        run(hospitals, BOTH_PHASES | {"sites-timeout": 0.1}, tamper, Away)


@pytest.mark.slow
def test_sites_that_stay_offline_end_the_run_with_a_checkpoint(hospitals, run):
    class Gone(Flickering):
        offline_queries = 10**9

    with pytest.raises(
        RunError, match="imputer, round 1: only 1 of 3 sites.*site-2: node unavailable.*resume="
    ):
        run(hospitals, BOTH_PHASES | {"name": "gone"}, grid=Gone)
    before, _ = run(hospitals, BOTH_PHASES | {"name": "unbroken"})
    after, _ = run(hospitals, BOTH_PHASES | {"resume": str(before.path.parent / "gone")})
    one, two = (load_file(d.path / "task-condi.safetensors") for d in (before, after))
    assert all(np.array_equal(one[k], two[k]) for k in one)
