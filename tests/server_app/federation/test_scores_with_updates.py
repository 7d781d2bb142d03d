"""Scores of a round's weights, which sites send with their updates of the next round."""

import json
from collections import Counter

import numpy as np
import pytest
from flwr.app import ConfigRecord, Context, Error, Message, RecordDict
from safetensors.numpy import load_file

from client_app.app import app as client_app
from client_app.node.request import Request
from client_app.node.site_policy import MESSAGES, SitePolicy
from condi_core.protocol import POLICY_REFUSED, SCORE_PREFIX
from condi_core.serialization import unpack_arrays


def exchanges(grid, action):
    """Return requests and replies of a phase with scores."""
    pairs = zip(grid.sent, grid.received, strict=True)
    return [(q, r) for q, r in pairs if q.metadata.message_type in (f"train.{action}", f"evaluate.{action}")]


def history(directory, phase):
    lines = [json.loads(line) for line in (directory.path / "history.jsonl").read_text().splitlines()]
    return [line for line in lines if line["phase"] == phase]


@pytest.mark.parametrize("action", ["imputer", "task"])
def test_a_round_is_one_message_to_each_site_and_the_last_is_scored_by_one_more(finished_run, action):
    _, grid = finished_run()
    messages = [
        (q.metadata.message_type, q.content["config"]["server-round"]) for q, _ in exchanges(grid, action)
    ]
    train, evaluate = f"train.{action}", f"evaluate.{action}"
    # Two rounds, the validation of the second, and the test.
    assert messages == [(train, 1)] * 3 + [(train, 2)] * 3 + [(evaluate, 2)] * 6


@pytest.mark.parametrize("action", ["imputer", "task"])
def test_scores_with_an_update_equal_those_of_an_evaluation(finished_run, action):
    _, grid = finished_run({"compare-with": "mask"})
    scored = [
        (request, reply)
        for request, reply in exchanges(grid, action)
        if request.content["config"].get("evaluate") and request.content["config"].get("method") != "condi"
    ]  # the method condi needs completed windows
    assert [q.content["config"]["server-round"] for q, _ in scored] == [2, 2, 2]
    for request, reply in scored:
        config = ConfigRecord({**request.content["config"], "split": "val", "samples": 0})
        content = RecordDict({"arrays": request.content["arrays"], "config": config})
        to = request.metadata
        alone = Message(content, to.dst_node_id, f"evaluate.{action}", group_id=to.group_id)
        alone.metadata.__dict__["_message_id"] = "x"
        expected = client_app(alone, grid.contexts[to.dst_node_id]).content
        arrays, metrics = unpack_arrays(reply.content["arrays"]), reply.content["metrics"]
        for name, sums in unpack_arrays(expected["arrays"]).items():
            np.testing.assert_array_equal(arrays[SCORE_PREFIX + name], sums)
        for name, value in expected["metrics"].items():
            assert name == "seconds" or metrics[SCORE_PREFIX + name] == value


def test_the_weights_with_the_lowest_score_are_those_that_were_scored(federation, run_local):
    """The second of three rounds is the best, by what all sites report."""

    def tamper(request, reply):
        to, settings = request.metadata, request.content["config"]
        metrics = reply.content["metrics"] if "metrics" in reply.content else {}
        if to.message_type == "train.task" and settings["evaluate"]:
            metrics[f"{SCORE_PREFIX}loss-sum"] = 1.0 if settings["server-round"] == 3 else 2.0
        elif to.message_type == "evaluate.task" and settings["split"] == "val":
            metrics["loss-sum"] = 3.0
        return reply

    directory, grid = run_local(federation, {"method": "mask", "task.rounds": 3}, tamper)
    lines = history(directory, "task-mask")
    assert [line["selection-score"] * 3 for line in lines] == pytest.approx([2.0, 1.0, 3.0])
    second = next(q for q, _ in exchanges(grid, "task") if q.content["config"]["server-round"] == 3)
    best = load_file(directory.path / "task-mask.safetensors")
    sent = unpack_arrays(second.content["arrays"])
    assert best.keys() == sent.keys() and all(np.array_equal(best[name], sent[name]) for name in best)


def test_a_site_that_refuses_to_train_scores_by_itself(federation, run_local):
    reason = "its policy does not answer messages train.task"

    def tamper(request, reply):
        refuses = request.metadata.message_type == "train.task" and request.metadata.group_id == "site-2"
        return Message(Error(POLICY_REFUSED, reason), reply_to=request) if refuses else reply

    directory, grid = run_local(federation, {"method": "mask"}, tamper)
    first, second = history(directory, "task-mask")
    assert first["failures"] == second["failures"] == {"site-2": reason}
    asked = [
        (request.metadata.message_type, request.content["config"]["server-round"])
        for request, _ in exchanges(grid, "task")
        if request.metadata.group_id == "site-2"
    ]
    assert Counter(asked) == {
        ("train.task", 1): 1, ("train.task", 2): 1, ("evaluate.task", 1): 1, ("evaluate.task", 2): 2,
    }  # fmt: skip


def test_scores_that_are_refused_cost_no_update(federation, run_local):
    def tamper(request, reply):
        if request.metadata.message_type == "train.task" and request.metadata.group_id == "site-2":
            metrics = reply.content["metrics"]
            for name in [name for name in metrics if name.startswith(SCORE_PREFIX)]:
                metrics[name] = float("nan")
        return reply

    directory, _ = run_local(federation, {"method": "mask"}, tamper)
    first, second = history(directory, "task-mask")
    assert list(first["failures"]) == ["site-2 (evaluation)"] and not second["failures"]
    assert "refused" in first["failures"]["site-2 (evaluation)"] and len(second["site-seconds"]) == 3


@pytest.mark.parametrize("allowed", [True, False])
def test_a_policy_without_evaluations_sends_no_scores_with_an_update(small_settings, allowed):
    messages = [kind for kind in MESSAGES if allowed or not kind.startswith("evaluate")]
    node = {"data": "/srv/site", "policy": SitePolicy(messages=messages).to_json()}
    content = RecordDict({"config": ConfigRecord({"evaluate": True})})
    request = Request(
        Message(content, 7, "train.imputer"), Context(1, 7, node, RecordDict(), small_settings())
    )
    assert request.evaluates == allowed
