"""How long a coordinator waits for replies of hospitals."""

import time
from types import SimpleNamespace

import pytest
from flwr.app import ConfigRecord, Error, Message, RecordDict
from flwr.supercore.task_identity import TaskIdentity

from server_app.federation import messaging
from server_app.federation.messaging import send_and_receive


class Grid:
    """Two registered nodes: 7 replies at the second pull; 8 never replies and restarts after some pulls."""

    def __init__(self, restart_after: float) -> None:
        self.restart_after = restart_after
        self.num_pulls = 0
        self.sent = {}
        self.sizes = []  # of groups of messages

    def get_nodes(self):
        started = "later" if self.num_pulls > self.restart_after else "at first"
        return [
            SimpleNamespace(node_id=7, name="north", last_activated_at="at first"),
            SimpleNamespace(node_id=8, name="south", last_activated_at=started),
        ]

    def push_messages(self, messages):
        self.sizes.append(len(messages))
        ids = [f"m{len(self.sent) + number}" for number in range(len(messages))]
        for id_, message in zip(ids, messages, strict=True):
            message.metadata.__dict__["_message_id"] = id_
            self.sent[id_] = message
        return ids

    def pull_messages(self, ids):
        self.num_pulls += 1
        has_reply = self.num_pulls == 2 and "m0" in ids
        return [Message(Error(2, "no"), reply_to=self.sent["m0"])] if has_reply else []


@pytest.fixture
def ask(monkeypatch):
    monkeypatch.setattr(messaging, "POLL_SECONDS", 0.001)
    TaskIdentity.run_id = TaskIdentity.node_id = TaskIdentity.task_id = 1

    def ask(restart_after, timeout):
        grid = Grid(restart_after)
        messages = [Message(RecordDict({"config": ConfigRecord({})}), node, "query.x") for node in (7, 8)]
        replies = send_and_receive(grid, messages, timeout)
        return [reply.metadata.reply_to_message_id for reply in replies], grid.num_pulls

    return ask


def test_a_restarted_node_is_not_waited_for(ask):
    assert ask(restart_after=4, timeout=600) == (["m0"], 6)


def test_other_nodes_are_waited_for_until_the_timeout(ask):
    start = time.monotonic()
    replies, num_pulls = ask(restart_after=float("inf"), timeout=0.2)
    assert replies == ["m0"] and num_pulls > 2 and time.monotonic() - start >= 0.2


def test_messages_to_many_sites_are_sent_in_groups(ask, monkeypatch):
    monkeypatch.setattr(messaging, "MESSAGES_PER_PUSH", 2)
    grid = Grid(restart_after=0)
    messages = [Message(RecordDict(), 7 + number % 2, "query.x") for number in range(5)]
    send_and_receive(grid, messages, 0.1)
    assert grid.sizes == [2, 2, 1] and [*grid.sent.values()] == messages


def test_a_line_says_for_which_sites_and_how_long_the_run_waits(monkeypatch, capsys):
    monkeypatch.setattr(messaging, "WAITING_LINE_SECONDS", 0.02)
    with messaging.report_waiting([f"site-{i}" for i in range(7)]):
        time.sleep(0.2)
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) > 2
    expected = "waiting for the replies of site-0, site-1, site-2, site-3, site-4 and 2 more: 0 s so far"
    assert set(lines) == {expected}
    with messaging.report_waiting([]):
        pass
    assert capsys.readouterr().out == ""
