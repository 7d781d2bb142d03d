"""Rounds that end when a quorum of sites has answered."""

import json
import math
from types import SimpleNamespace

import pytest
from flwr.app import ConfigRecord, Message, RecordDict
from flwr.supercore.task_identity import TaskIdentity

from client_app.app import app as client_app
from condi_core.config import ConfigError, RunConfig
from server_app.app import coordinate
from server_app.federation import messaging
from server_app.federation.late_answers import NOT_AWAITED, LateAnswers
from server_app.federation.messaging import Quorum, send_and_receive
from server_app.federation.reply_pulling import ReplyPuller
from tests.helpers.local_grid import LocalGrid
from tests.helpers.tiny_federation import write_tiny


class Grid:
    """Registered nodes, each of which answers a request after a number of pulls."""

    def __init__(self, pulls: dict[int, float]) -> None:
        self.pulls = pulls
        self.outstanding: dict[str, tuple[Message, float]] = {}
        self.asked: list[int] = []
        self.restarted: set[int] = set()

    def get_nodes(self):
        return [
            SimpleNamespace(
                node_id=n, name="x", last_activated_at="later" if n in self.restarted else "at first"
            )
            for n in self.pulls
        ]

    def push_messages(self, messages):
        ids = []
        for message in messages:
            message.metadata.__dict__["_message_id"] = f"m{len(self.asked)}"
            self.asked.append(message.metadata.dst_node_id)
            ids.append(message.metadata.message_id)
            self.outstanding[ids[-1]] = message, self.pulls[message.metadata.dst_node_id]
        return ids

    def pull_messages(self, ids):
        replies = []
        for id_ in ids:
            message, left = self.outstanding[id_]
            self.outstanding[id_] = message, left - 1
            if left <= 1:
                replies.append(Message(RecordDict(), reply_to=message))
        return replies


@pytest.fixture
def ask(monkeypatch):
    """`ask(grid, quorum, round_, kinds, evaluators)`: return who answered, and why other nodes did not."""
    monkeypatch.setattr(messaging, "POLL_SECONDS", 0.0)
    TaskIdentity.run_id = TaskIdentity.node_id = TaskIdentity.task_id = 1

    def ask(grid, quorum, round_=1, kinds=None, evaluators=()):
        kinds = kinds or {}
        requests = []
        for n in grid.pulls:
            config = {"phase": "imputer", "server-round": round_, "evaluate": n in evaluators}
            content = RecordDict({"config": ConfigRecord(config)})
            requests.append(Message(content, n, kinds.get(n, "train.imputer"), group_id=f"site-{n}"))
        replies = send_and_receive(grid, requests, 60.0, quorum)
        answered = [r.metadata.group_id for r in replies if not r.has_error()]
        assert all(r.error.code == NOT_AWAITED for r in replies if r.has_error())
        return answered, {r.metadata.group_id: r.error.reason for r in replies if r.has_error()}

    return ask


def quorum(grid, fraction, min_answers=1):
    return Quorum(fraction, min_answers, LateAnswers(ReplyPuller(grid)))


def test_a_round_ends_with_the_quorum_and_says_so_of_the_others(ask):
    grid = Grid({1: 1, 2: 2, 3: 3, 4: math.inf})
    reason = "it had not answered when 3 of 4 sites had, which is the quorum"
    assert ask(grid, quorum(grid, 0.75)) == (["site-1", "site-2", "site-3"], {"site-4": reason})


@pytest.mark.parametrize(
    ("fraction", "min_answers", "number"), [(0.55, 1, 3), (0.25, 3, 3), (0.6, 1, 3), (0.1, 9, 5)]
)
def test_a_quorum_is_rounded_up_and_at_least_min_sites(ask, fraction, min_answers, number):
    grid = Grid({n: n for n in range(1, 6)})
    assert len(ask(grid, quorum(grid, fraction, min_answers))[0]) == number


def test_updates_and_scores_have_a_quorum_each(ask):
    grid = Grid({1: 5, 2: 6, 3: 1, 4: 2})
    answered, _ = ask(grid, quorum(grid, 0.5), kinds={3: "evaluate.imputer", 4: "evaluate.imputer"})
    assert answered == ["site-3", "site-4", "site-1"]


def test_updates_of_sites_that_score_nothing_do_not_end_the_wait_for_scores(ask):
    grid = Grid({1: 1, 2: 2, 3: 3, 4: 4, 5: 5})
    answered, _ = ask(grid, quorum(grid, 0.4, min_answers=2), evaluators=(3, 4, 5))
    assert answered == ["site-1", "site-2", "site-3", "site-4"]


def test_a_late_site_is_not_asked_again_until_its_answer_has_come_and_was_discarded(ask, capsys):
    grid = Grid({1: 1, 2: 1, 3: 7})
    rule = quorum(grid, 0.6)
    ask(grid, rule)
    assert capsys.readouterr().out == ""
    assert ask(grid, rule, round_=2)[1] == {
        "site-3": "it was not asked, as it still works on round 1 of imputer"
    }
    while "discarded" not in (printed := capsys.readouterr().out):
        ask(grid, rule, round_=3)
    assert printed == "site-3 answered round 1 of imputer after it had ended: the answer is discarded\n"
    grid.asked.clear()
    ask(grid, rule, round_=4)
    assert grid.asked == [1, 2, 3]


def test_a_late_site_that_was_restarted_is_asked_again(ask):
    grid = Grid({1: 1, 2: 1, 3: math.inf})
    rule = quorum(grid, 0.6)
    ask(grid, rule)
    grid.restarted.add(3)
    grid.asked.clear()
    ask(grid, rule, round_=2)
    assert grid.asked == [1, 2, 3]


class SlowGrid(LocalGrid):
    """Registered nodes in this process; the answer of one to the first round is never received."""

    def get_nodes(self):
        return [
            SimpleNamespace(node_id=node, name=f"site-{i}", last_activated_at="once")
            for i, node in enumerate(self.contexts)
        ]

    def pull_messages(self, ids):
        def is_lost(reply):
            return reply.metadata.message_type == "train.task" and reply.metadata.group_id == "site-2"

        replies = super().pull_messages(ids)
        return [reply for reply in replies if not is_lost(reply)]


def test_a_run_goes_on_without_a_slow_site_and_its_last_weights_are_scored_by_all(tmp_path, small_settings):
    federation = write_tiny(tmp_path / "federation")
    settings = small_settings({"output": str(tmp_path), "name": "run", "method": "mask", "quorum": 0.6})
    nodes = [{"data": str(federation / f"site-{i}"), "cache": str(tmp_path / "cache")} for i in range(3)]
    directory = coordinate(SlowGrid(client_app, nodes, settings), RunConfig.from_flat(settings))
    lines = [json.loads(line) for line in (directory.path / "history.jsonl").read_text().splitlines()]
    assert [sorted(line["site-seconds"]) for line in lines] == [["site-0", "site-1"]] * 2
    first, second = (line["bytes-down"] for line in lines)
    assert second == first / 3 * (2 + 2), "the slow one is sent nothing"
    first, second = (line["failures"] for line in lines)
    assert first == {
        "site-2": "it had not answered when 2 of 3 sites had, which is the quorum",
        "site-2 (evaluation)": "it was not asked, as it still works on round 1 of task-mask",
    }
    assert second["site-2"] == first["site-2 (evaluation)"]
    answered = json.loads((directory.path / "result.json").read_text())["answered"]["task-mask"]
    assert answered == {"sites": ["site-0", "site-1", "site-2"], "failures": {}}, "the test waits for all"


@pytest.mark.parametrize("share", [0.0, 1.5, float("nan")])
def test_impossible_quorums_are_refused(small_settings, share):
    with pytest.raises(ConfigError, match="^setting 'quorum'"):
        RunConfig.from_flat(small_settings({"quorum": share}))


def test_a_quorum_is_refused_with_secure_aggregation(small_settings):
    with pytest.raises(
        ConfigError, match="^setting 'secure-aggregation': cannot be combined with quorum below 1"
    ):
        RunConfig.from_flat(small_settings({"quorum": 0.5, "secure-aggregation": True, "averaging": "mean"}))
