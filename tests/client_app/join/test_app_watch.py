"""What a node does while an app works on a message, with Flower's own loop, state and store of a node."""

from __future__ import annotations

import pytest
from flwr.app import Message, RecordDict
from flwr.common.constant import ErrorCode, Status, SubStatus
from flwr.supercore.constant import TaskType
from flwr.supercore.inflatable.inflatable_object import get_all_nested_objects, get_object_tree
from flwr.supercore.object_store import ObjectStoreFactory
from flwr.supercore.run import Run, RunNotRunningException
from flwr.supercore.task_identity import TaskIdentity
from flwr.supernode import start_client_internal as node_loop
from flwr.supernode.nodestate import NodeStateFactory

from client_app.join import app_watch
from client_app.join.app_watch import NOT_TAKEN_UP, RUN_CHECK_SECONDS, TAKE_UP_SECONDS, AppWatch
from client_app.join.gate import Gate
from client_app.node.audit_log import read_entries
from client_app.node.site_policy import SitePolicy

RUN = 7


class Node:
    """A node that waits for the reply to a message, and an app that `claim` makes work on it."""

    def __init__(self, gate: Gate) -> None:
        TaskIdentity.run_id = TaskIdentity.node_id = TaskIdentity.task_id = 1
        self.gate, self.sent = gate, []
        stores = ObjectStoreFactory()
        self.state, self.store = NodeStateFactory(stores).state(), stores.store()
        self.state.set_node_id(1)
        self.run_error: Exception | type[BaseException] | None = None
        self.message = Message(RecordDict(), 1, "train.task")
        self.message.metadata.__dict__.update(_message_id="m", _run_id=RUN)
        self.state.store_message(self.message)
        self.task = self.state.create_task(TaskType.CLIENT_APP, RUN, fab_hash="")
        self.watch = gate._watch = AppWatch(self.state, self.store, self.message, self.get_run)

    def get_run(self, run: int) -> Run:
        if self.run_error:
            raise self.run_error
        return Run.create_empty(run)

    def claim(self) -> None:
        """Let an app begin its work."""
        self.state.claim_task(self.task)
        self.state.activate_task(self.task)
        self.state.get_messages(is_reply=False)

    def push(self) -> list:
        """Return the errors of the replies that Flower's loop sends now."""
        arguments = {"state": self.state, "object_store": self.store, "push_object": lambda *_: None}
        self.gate.push(node_loop._push_messages, arguments | {"send": self._send})
        return self.sent

    def _send(self, reply, tree, seconds):
        assert reply.metadata.reply_to_message_id == "m"
        self.sent.append((reply.error.code, reply.error.reason))
        return set(), "session"


@pytest.fixture
def clock(monkeypatch):
    """A clock that stands still; `clock.now` sets it."""

    class Clock:
        now = 1000.0

        def monotonic(self) -> float:
            return self.now

    monkeypatch.setattr(app_watch, "time", clock := Clock())
    return clock


@pytest.fixture
def node(tmp_path, clock):
    return Node(Gate(SitePolicy(), tmp_path / "audit.jsonl", "fl.example.org:9092"))


def status(node: Node) -> str:
    (task,) = node.state.get_tasks(task_ids=[node.task])
    return task.status.status


def test_a_node_gives_up_when_the_run_has_ended(node, clock, capsys):
    node.claim()
    node.run_error = RunNotRunningException
    assert not node.watch.get_messages(is_reply=True) and status(node) == Status.RUNNING
    clock.now += RUN_CHECK_SECONDS + 1
    assert node.push() == [], "nobody waits for the reply"
    assert status(node) == Status.FINISHED, "Flower refuses the next heartbeat of the app, which then ends"
    assert "condi: gave up on train.task of run 7: the run has ended\n" in capsys.readouterr().out
    assert [entry["kind"] for entry in read_entries(node.gate.log)] == ["start"]
    assert not node.state.get_messages()


def test_a_superlink_that_does_not_answer_ends_no_work(node, clock):
    node.claim()
    node.run_error = ConnectionError()
    clock.now += RUN_CHECK_SECONDS + 1
    assert not node.watch.get_messages(is_reply=True) and status(node) == Status.RUNNING


@pytest.mark.parametrize(
    ("details", "reason"),
    [
        ("the app's process was killed, most often because memory ran out",) * 2,
        ("ClientApp task failed due to unknown reason", "the app's process has ended before it replied"),
    ],
)
def test_the_coordinator_hears_why_an_app_has_ended(node, details, reason):
    node.claim()
    node.state.finish_task(node.task, SubStatus.FAILED, details)
    assert node.push() == [(ErrorCode.CLIENT_APP_CRASHED, reason)]
    *_, entry = read_entries(node.gate.log)
    assert (entry["kind"], entry["reason"]) == ("reply", reason)


def test_a_message_that_no_process_takes_up(node, clock):
    clock.now += TAKE_UP_SECONDS - 1
    assert not node.watch.get_messages(is_reply=True)
    clock.now += 2
    assert node.push() == [(ErrorCode.CLIENT_APP_CRASHED, NOT_TAKEN_UP)]
    assert status(node) == Status.FINISHED, "no process takes it up later"


def hand_over(node: Node, *, whole: bool) -> None:
    """Let the app reply and end, after it has handed over its whole reply or only its parts' names."""
    reply = Message(RecordDict(), reply_to=node.message)
    reply.metadata.__dict__["_message_id"] = reply.object_id
    node.state.store_message(reply)
    node.state.record_message_processing_start("m")
    node.state.record_message_processing_end("m")
    node.store.preregister(RUN, get_object_tree(reply))
    for name, part in get_all_nested_objects(reply).items() if whole else ():
        node.store.put(name, part.deflate())
    node.state.finish_task(node.task, SubStatus.FAILED, "")


def test_an_app_that_ends_while_it_hands_over_its_reply(node):
    node.claim()
    hand_over(node, whole=False)
    reason = "the app's process has ended before it handed over its whole reply"
    assert node.push() == [(ErrorCode.CLIENT_APP_CRASHED, reason)]
    *_, entry = read_entries(node.gate.log)
    assert (entry["kind"], entry["reason"]) == ("refusal", reason)


def test_a_reply_that_cannot_be_recorded_becomes_an_error(node, monkeypatch):
    def fail(*_):
        raise OSError(28, "No space left on device")

    node.claim()
    hand_over(node, whole=True)
    monkeypatch.setattr("client_app.node.audit_log._write_all", fail)
    reason = "its audit log cannot be written, without which it answers nothing"
    assert node.push() == [(ErrorCode.CLIENT_APP_CRASHED, reason)]
