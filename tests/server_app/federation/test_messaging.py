"""How long a coordinator waits for the replies of hospitals."""

from types import SimpleNamespace

import pytest
from flwr.app import ConfigRecord, Error, Message, RecordDict
from flwr.supercore.task_identity import TaskIdentity

from server_app.federation import messaging
from server_app.federation.messaging import send_and_receive


class Grid:
    """Two registered nodes: 7 answers at the second look; 8 never, and is started anew after some looks."""

    def __init__(self, anew_after: float) -> None:
        self.anew_after, self.looks, self.sent = anew_after, 0, {}

    def get_nodes(self):
        started = "later" if self.looks > self.anew_after else "at first"
        return [
            SimpleNamespace(node_id=7, name="north", last_activated_at="at first"),
            SimpleNamespace(node_id=8, name="south", last_activated_at=started),
        ]

    def push_messages(self, messages):
        for number, message in enumerate(messages):
            message.metadata.__dict__["_message_id"] = f"m{number}"
            self.sent[f"m{number}"] = message
        return list(self.sent)

    def pull_messages(self, ids):
        self.looks += 1
        return [Message(Error(2, "no"), reply_to=self.sent["m0"])] if self.looks == 2 and "m0" in ids else []


@pytest.fixture
def ask(monkeypatch):
    monkeypatch.setattr(messaging, "POLL_SECONDS", 0.001)
    TaskIdentity.run_id = TaskIdentity.node_id = TaskIdentity.task_id = 1

    def ask(anew_after, timeout):
        grid = Grid(anew_after)
        messages = [Message(RecordDict({"config": ConfigRecord({})}), node, "query.x") for node in (7, 8)]
        return [r.metadata.reply_to_message_id for r in send_and_receive(grid, messages, timeout)], grid.looks

    return ask


def test_a_node_that_was_started_anew_has_lost_what_it_was_sent(ask):
    assert ask(anew_after=4, timeout=600) == (["m0"], 6)


def test_the_others_are_waited_for_until_the_time_is_over(ask):
    replies, looks = ask(anew_after=float("inf"), timeout=0.2)
    assert replies == ["m0"] and looks > 10
