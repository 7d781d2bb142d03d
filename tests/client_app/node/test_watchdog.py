"""A hospital's client process ends itself when it hangs past the round."""

import time

import pytest
from flwr.app import ConfigRecord, Context, Message, RecordDict
from flwr.supercore.task_identity import TaskIdentity

from client_app.node import request as node_request
from condi_core.protocol import fingerprint


@pytest.mark.parametrize("node", ["hospital", "simulation"])
def test_a_client_that_hangs_ends_its_process(federation, small_settings, monkeypatch, capsys, node):
    TaskIdentity.run_id = TaskIdentity.node_id = TaskIdentity.task_id = 1
    statuses = []
    monkeypatch.setattr(node_request.os, "_exit", statuses.append)
    hospital = {"data": str(federation / "site-0"), "device": "cpu"}
    simulated = {"partition-id": 0, "num-partitions": 1, "device": "cpu"}
    settings = small_settings({"round-timeout": 0.2})
    context = Context(
        run_id=1,
        node_id=1,
        node_config=hospital if node == "hospital" else simulated,
        state=RecordDict(),
        run_config=settings,
    )
    content = RecordDict({"config": ConfigRecord({"fingerprint": fingerprint()})})

    @node_request.handler
    def hang(request):
        time.sleep(0.6)
        return RecordDict()

    message = Message(content, 1, "train.task")
    message.metadata.__dict__["_message_id"] = "x"
    hang(message, context)
    printed = capsys.readouterr().out
    assert statuses == ([1] if node == "hospital" else []), "many sites of a simulation share one process"
    assert ("stopped after 0.2 s, as the coordinator no longer waits" in printed) == (node == "hospital")
