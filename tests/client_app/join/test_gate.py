"""The gate between SuperNode and SuperLink, with Flower's own state and store of a node."""

from __future__ import annotations

import hashlib

import numpy as np
import pytest
from flwr.app import Array, ArrayRecord, ConfigRecord, Error, Message, MetricRecord, RecordDict
from flwr.cli.build import build_fab_from_disk
from flwr.supercore.constant import TaskType
from flwr.supercore.fab import Fab
from flwr.supercore.inflatable.inflatable_object import get_all_nested_objects, get_object_tree
from flwr.supercore.object_store import ObjectStoreFactory
from flwr.supercore.run import Run, RunNotRunningException
from flwr.supercore.task_identity import TaskIdentity
from flwr.supernode import start_client_internal as node_loop
from flwr.supernode.nodestate import NodeStateFactory

from client_app.join.gate import MAX_ASKED_RUNS, Gate
from client_app.join.supernode import install_gate
from client_app.node.audit_log import append_entry, read_entries
from client_app.node.request import to_record
from client_app.node.site_policy import SitePolicy
from condi_core.protocol import POLICY_REFUSED
from tests.helpers.run_settings import PROJECT


@pytest.fixture(scope="module")
def app():
    return build_fab_from_disk(PROJECT)


@pytest.fixture
def node(tmp_path, app):
    """`node(kind, run, **policy)`: what Flower's loop gets of a message; attributes show what happened."""

    class Node:
        content = app
        log = tmp_path / "audit.jsonl"
        fetched = 0

        def __init__(self) -> None:
            TaskIdentity.run_id = TaskIdentity.node_id = TaskIdentity.task_id = 1
            stores = ObjectStoreFactory()
            self.state, self.store = NodeStateFactory(stores).state(), stores.store()
            self.state.set_node_id(1)
            self.stored: list[dict] = []
            self.run = Run.create_empty(7)

        def gate(self, **policy) -> Gate:
            return Gate(SitePolicy(**policy), self.log, "fl.example.org:9092")

        def receive(self, gate: Gate, kind: str = "query.describe", run: int = 7) -> int | None:
            message = Message(RecordDict(), 1, kind)
            message.metadata.__dict__.update(_message_id="m", _run_id=run)
            arguments = {
                "state": self.state,
                "object_store": self.store,
                "node_config": {"data": "/d"},
                "receive": lambda: (message, None),
                "get_run": self.get_run,
                "get_fab": self.get_fab,
            }
            return gate.pull(self.pull, arguments)

        def pull(self, **arguments) -> int:
            self.stored.append(arguments)
            assert arguments["receive"]() is not None and arguments["get_run"](7).run_id == self.run.run_id
            fetched = self.fetched
            assert arguments["get_fab"]("", 7).content == self.content
            assert self.fetched == fetched, "the app that runs is the one that was checked"
            return self.run.run_id

        def get_run(self, run: int) -> Run:
            self.run.run_id, self.run.override_config = run, {"task.rounds": 2}
            self.run.fab_hash = self.run.fab_hash or hashlib.sha256(self.content).hexdigest()
            return self.run

        def get_fab(self, fab_hash: str, run: int) -> Fab:
            self.fetched += 1
            return Fab(fab_hash, self.content, {})

        def refusal(self, gate: Gate, *arguments, **options) -> str:
            """Return the reason in the reply to a message, which no app may have seen."""
            assert self.receive(gate, *arguments, **options) == self.run.run_id and not self.stored
            (reply,) = self.state.get_messages(is_reply=True)
            assert reply.error.code == POLICY_REFUSED and reply.metadata.reply_to_message_id == "m"
            gate.record(reply, get_object_tree(reply), self.store)
            assert not gate._refusals
            *_, entry = read_entries(self.log)
            assert (entry["kind"], entry["reason"]) == ("refusal", reply.error.reason)
            return reply.error.reason

        def reply(self, gate: Gate, kind: str, answer: RecordDict | Error) -> dict:
            """Return what the log says of a reply that the app has handed over."""
            request = Message(RecordDict(), 1, kind)
            request.metadata.__dict__.update(_message_id="m", _run_id=7)
            reply = Message(answer, reply_to=request)
            reply.metadata.__dict__["_message_id"] = reply.object_id
            tree = get_object_tree(reply)
            self.store.preregister(7, tree)
            for name, part in get_all_nested_objects(reply).items():
                self.store.put(name, part.deflate())
            gate.record(reply, tree, self.store)
            return read_entries(self.log)[-1]

    return Node()


def test_an_admitted_message_reaches_the_app_with_the_policy_and_the_log(node, app):
    gate = node.gate(smallest_count=3)
    assert node.receive(gate) == 7 and node.receive(gate, "train.task") == 7
    assert node.fetched == 1
    (first, _) = node.stored
    assert SitePolicy.from_json(first["node_config"].pop("policy")) == gate.policy
    assert first["node_config"] == {"data": "/d", "audit": str(node.log)}
    start, run = read_entries(node.log)
    assert (start["kind"], start["policy"]) == ("start", gate.policy.digest)
    assert start["policy_changes"] == {"smallest-count": 3}
    assert (run["kind"], run["run"], run["superlink"]) == ("run", 7, "fl.example.org:9092")
    assert run["app"] == hashlib.sha256(app).hexdigest() and len(run["settings_sha256"]) == 64
    assert run["changed_settings"] == {"task.rounds": 2}


def test_the_gate_keeps_the_apps_of_the_latest_runs_alone(node):
    gate = node.gate()
    for run in range(MAX_ASKED_RUNS + 1):
        assert node.receive(gate, run=run) == run
    assert node.receive(gate, run=MAX_ASKED_RUNS) == MAX_ASKED_RUNS
    assert (node.fetched, len(gate._runs)) == (MAX_ASKED_RUNS + 1, MAX_ASKED_RUNS)
    assert node.receive(gate, run=0) == 0 and node.fetched == MAX_ASKED_RUNS + 2
    assert [entry["run"] for entry in read_entries(node.log)[1:]] == list(range(MAX_ASKED_RUNS + 1))


def test_no_message(node):
    assert node.gate().pull(node.pull, {"receive": lambda: None}) is None


def test_a_message_that_the_policy_refuses_reaches_no_app(node, capsys):
    gate = node.gate(messages=["query.describe"])
    reason = node.refusal(gate, "train.task")
    assert reason == "its policy does not answer messages train.task"
    assert capsys.readouterr().out == f"condi: this site refused train.task of run 7: {reason}\n"


def test_settings_of_the_run_are_those_of_its_app_with_what_the_run_changes(node):
    # 3 + 3 rounds of phase 1, and 2 of each method instead of 5
    assert "settings ask for 10: lower" in node.refusal(node.gate(rounds_per_run=9))


def test_other_code_runs_for_no_message(node):
    node.content = node.content + b"x"  # still the same files
    assert node.receive(node.gate()) == 7
    node.stored.clear()
    node.run.fab_hash, node.content = "", b"other"
    assert node.refusal(node.gate(), "query.left_out", run=8).startswith(
        "it runs only the code of CondI that"
    )
    assert "something cannot be read" in read_entries(node.log)[-1]["reason"]


def test_an_app_that_is_not_the_one_of_the_run(node):
    node.run.fab_hash = "0" * 64
    reason = "the app that it received is not the one that the run names"
    assert node.refusal(node.gate(accepted_apps=["any"])) == reason


def test_an_app_of_another_kind(node):
    node.run.primary_task_type = TaskType.AGENT_APP
    assert node.refusal(node.gate()).startswith("it runs ClientApps, and not ")


def test_a_run_that_has_ended(node, monkeypatch):
    def end_run(*_):
        raise RunNotRunningException

    assert node.gate().pull(node.pull, {"receive": end_run}) is None
    monkeypatch.setattr(node, "get_run", end_run)
    assert node.receive(node.gate()) is None and not node.stored


def test_a_run_that_cannot_be_checked_is_refused(node, monkeypatch):
    monkeypatch.setattr(node, "get_fab", lambda *_: Fab("", None, {}))
    assert node.refusal(node.gate()) == "its policy could not be checked (TypeError)"


def test_an_audit_log_that_cannot_be_written_refuses_everything(node, monkeypatch, capsys):
    gate = node.gate()
    monkeypatch.setattr("client_app.node.audit_log._write_all", fail)
    assert node.receive(gate) == 7 and not node.stored
    (reply,) = node.state.get_messages(is_reply=True)
    assert reply.error.reason == "its audit log cannot be written, without which it answers nothing"
    assert f"condi: the audit log {node.log} cannot be written: No space left" in capsys.readouterr().out


def fail(*_):
    raise OSError(28, "No space left on device")


def test_runs_of_earlier_processes_count(node):
    append_entry(node.log, "run", run=1)
    append_entry(node.log, "run", run=2)
    assert "the 2 runs that its policy allows a day" in node.refusal(node.gate(runs_per_day=2))
    assert node.receive(node.gate(runs_per_day=2), run=2) == 2


def test_the_log_has_what_leaves_in_a_reply(node):
    arrays = {"a": np.full((2, 3), 2, np.float32), "b": np.array([np.inf])}
    metrics = MetricRecord({"windows": 8.0, "loss": float("nan"), "counts": [0.5] * 17})
    sites = ConfigRecord(
        {"sites": ['{"labels": {"train": [3, 4]}, "name": "north"}'], "masked": b"12345", "text": "x" * 201}
    )
    content = RecordDict({"arrays": to_record(arrays), "metrics": metrics, "config": sites})
    gate = node.gate()
    entry = node.reply(gate, "train.task", content)
    assert (entry["kind"], entry["run"], entry["message"]) == ("reply", 7, "train.task")
    assert entry["arrays"]["arrays"] == {
        "a": {"shape": [2, 3], "norm": pytest.approx(24**0.5)},
        "b": {"shape": [1], "norm": "inf"},
    }
    assert entry["values"] == {
        "metrics": {"windows": 8.0, "loss": "nan", "counts": {"length": 17}},
        "config": {
            "sites": [{"labels": {"train": [3, 4]}, "name": "north"}],
            "masked": {"bytes": 5},
            "text": {"characters": 201},
        },
    }
    assert entry["bytes"] > 24 and len(entry["sha256"]) == 64
    assert gate.answered.rounds(7) == 1


def test_arrays_that_an_app_packs_in_another_way_are_in_the_log_by_their_size(node):
    content = RecordDict({"arrays": ArrayRecord({"a": Array("float32", (2, 3), "other", bytes(24))})})
    entry = node.reply(node.gate(), "train.task", content)
    assert entry["arrays"] == {"arrays": {"a": {"shape": [2, 3], "bytes": 24}}}


def test_the_log_has_the_reason_of_an_error_that_leaves(node):
    gate = node.gate()
    entry = node.reply(gate, "train.task", Error(2, "it failed"))
    assert (entry["error"], entry["reason"]) == (2, "it failed")
    assert gate.answered.rounds(7) == 0


def test_a_reply_that_cannot_be_recorded_does_not_leave(node, monkeypatch):
    sent: list[str] = []
    monkeypatch.setattr(node_loop, "_pull_and_store_message", None)
    push = []
    monkeypatch.setattr(node_loop, "_push_messages", lambda **arguments: push.append(arguments))
    gate = node.gate()
    gate.install()
    node_loop._push_messages(object_store=node.store, send=lambda *_: sent.append("it"))
    monkeypatch.setattr(gate, "record", fail)
    with pytest.raises(OSError, match="No space left"):
        push[0]["send"](None, None, 0.0)
    assert not sent
    monkeypatch.setattr(gate, "record", lambda *_: None)
    push[0]["send"](None, None, 0.0)
    assert sent == ["it"]


def test_the_functions_of_flower_that_the_gate_replaces_have_the_arguments_that_it_needs():
    for function, names in (
        (
            "_pull_and_store_message",
            {"receive", "get_run", "get_fab", "node_config", "state", "object_store"},
        ),
        ("_push_messages", {"send", "object_store"}),
    ):
        assert names <= set(getattr(node_loop, function).__code__.co_varnames), function


def test_the_node_takes_its_policy_and_log_from_the_command_line(tmp_path, monkeypatch):
    for function in ("_pull_and_store_message", "_push_messages"):
        monkeypatch.setattr(node_loop, function, getattr(node_loop, function))
    log, policy = tmp_path / "log.jsonl", tmp_path / "policy.toml"
    policy.write_text("smallest-count = 3")
    options = [f"--policy={policy}", "--audit", str(log)]
    others = ["--grpc-rere", "--superlink", "fl:9092", '--node-config=data="/data"']
    assert install_gate([*options, *others]) == others
    (start,) = read_entries(log)
    assert (start["superlink"], start["policy_changes"]) == ("fl:9092", {"smallest-count": 3})

    policy.write_text("smallest = 3")
    with pytest.raises(SystemExit, match="Error: .*, line 1: unknown key `smallest`: did you mean"):
        install_gate([*options, *others])
    policy.write_text("")
    log.write_text(log.read_text().replace("fl:9092", "fl:9093") * 2)
    with pytest.raises(SystemExit, match="Error: .*, line 2: the line before it"):
        install_gate([*options, *others])
