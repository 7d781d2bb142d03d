"""Completion between the phases: a run continues without a site that cannot complete its windows."""

import json

from flwr.app import Error, Message


def test_an_error_without_a_reason_is_printed_and_the_others_train(federation, run_local, capsys):
    def tamper(request, reply):
        failing = request.metadata.message_type == "query.complete" and request.metadata.group_id == "site-1"
        return Message(Error(2), reply_to=request) if failing else reply

    directory, _ = run_local(federation, tamper=tamper)
    assert "site-1 could not complete its windows: no reason given" in capsys.readouterr().out
    lines = [json.loads(line) for line in (directory.path / "history.jsonl").read_text().splitlines()]
    assert all(not line["failures"] for line in lines)
