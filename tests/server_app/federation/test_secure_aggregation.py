"""Secure aggregation: equality with the plain average within quantisation, dropouts, and unmasked data."""

import json
from collections import Counter

import numpy as np
import pytest
import torch
from flwr.app import ConfigRecord, Error, Message, RecordDict
from flwr.common.secure_aggregation.secaggplus_constants import RECORD_KEY_CONFIGS, Stage
from safetensors.numpy import load_file

from client_app.app import app as client_app
from client_app.node import secure_aggregation as at_site
from condi_core.config import ConfigError, RunConfig
from condi_core.imputer.imputer import Imputer
from condi_core.ownership import aggregation_weights, ownership, trainable
from condi_core.protocol import COMPLETIONS_MISSING, fingerprint
from condi_core.task.model import TaskModel
from server_app.artifacts import scores
from server_app.artifacts.run_directory import state_arrays
from server_app.errors import RunError
from server_app.federation.records import to_numpy, to_record
from server_app.federation.roll_call import collect_roster
from server_app.federation.secure_aggregation import RANGES, SecureTraining
from server_app.federation.strategy import ModalityFedAvg
from tests.helpers.local_grid import LocalGrid
from tests.helpers.tiny_federation import write_tiny

SECURE = {"secure-aggregation": True, "averaging": "mean"}
ONE_ROUND = SECURE | {"imputer.rounds": 1, "imputer.samples": 0, "task.rounds": 1}
STEP = 2.0 / 2**29  # quantisation step of numbers from -1 to 1, with three or four sites


def stage(message):
    """Return the stage of the protocol that a request belongs to; None for any other request."""
    return message.content.get(RECORD_KEY_CONFIGS, {}).get("stage")


def failing(site, at, error=None, times=10**9):
    """Return a tamper function: one site replies to a stage with an error, or does not reply."""
    seen = Counter()

    def tamper(request, reply):
        if request.metadata.dst_node_id == 1000 + site and stage(request) == at:
            seen[at] += 1
            if seen[at] <= times:
                return Message(error, reply_to=request) if error else None
        return reply

    return tamper


@pytest.fixture
def rounds(federation, small_settings):
    """`rounds(action, tamper, round)`: a plain round of training, and what a secure one needs."""

    def run(action, tamper=None, round_=1):
        settings = small_settings({"federation": str(federation), "min-sites": 2})
        nodes = [{"partition-id": i, "num-partitions": 3} for i in range(3)]
        grid, config = LocalGrid(client_app, nodes, settings), RunConfig.from_flat(settings)
        roster, path = collect_roster(grid, config, str)
        torch.manual_seed(0)
        is_task = action == "task"
        model = TaskModel(roster.schema, config.task) if is_task else Imputer(roster.schema, config.imputer)
        model.standardiser.fit(torch.from_numpy(roster.sums))
        base = state_arrays(model)
        returned = {k for k in base if k.endswith(".spectrum")} if action == "relation" else trainable(model)
        common = {"fingerprint": fingerprint(), "federation": path, "phase": action, "learning-rate": 0.01}
        message = ConfigRecord({**common, "method": "mask", "imputer": ""})
        strategy = ModalityFedAvg(
            roster,
            action,
            ownership(model),
            returned,
            scores.NO_EVALUATION,
            min_sites=2,
            max_steps=20,
            counts_samples=action == "relation",
        )
        requests = strategy.configure_train(round_, base, message)
        replies = grid.send_and_receive(requests)
        plain = strategy.aggregate_train(base, requests, replies)
        grid.tamper = tamper
        training = SecureTraining(grid, strategy, 60.0, None)
        return base, plain, requests, replies, training, message

    return run


@pytest.mark.parametrize(
    ("action", "round_"), [("relation", 1), ("relation", 2), ("imputer", 1), ("task", 1)]
)
def test_the_secure_average_equals_the_plain_one_within_quantisation(rounds, action, round_):
    base, plain, _, replies, training, message = rounds(action, round_=round_)
    secure = training.train(round_, base, message)
    assert secure.windows == plain.windows and secure.loss == pytest.approx(plain.loss, rel=1e-6)
    assert secure.exchange.requested == ["site-0", "site-1", "site-2"] and not secure.exchange.failures
    assert secure.exchange.bytes_down > 0 and secure.exchange.bytes_up > 0
    samples = 60 if (action, round_) == ("relation", 1) else 1
    counts = sum(np.array(r.content["metrics"]["counts"]) for r in replies).reshape(4, 4) / (3 * 8 * samples)
    changed = 0
    for name, start in base.items():
        if name not in training.strategy.returned:
            assert np.array_equal(secure.state[name], start)
            continue
        weight = aggregation_weights(training.strategy.owners[name], counts, 1.0, start.shape)
        moved = np.abs(plain.state[name].astype(float) - start)
        bound = STEP * (RANGES[action] + moved) / np.maximum(weight, 1e-3) + 2e-7 * (np.abs(start) + moved)
        after = secure.state[name]
        assert after.dtype == start.dtype and (np.abs(after - plain.state[name]) <= bound).all(), name
        assert (after == start)[np.broadcast_to(weight == 0, start.shape)].all()
        changed += (np.abs(after - start) > 10 * bound).sum()
    assert changed > 100


def test_one_site_may_drop_out_while_it_trains(rounds):
    base, _, requests, replies, training, message = rounds("task", failing(1, Stage.COLLECT_MASKED_VECTORS))
    secure = training.train(1, base, message)
    assert secure.exchange.failures == {"site-1": "no answer in time"}
    assert list(secure.exchange.seconds) == ["site-0", "site-2"] and secure.windows == 16
    others = [reply for reply in replies if reply.metadata.group_id != "site-1"]
    expected = training.strategy.aggregate_train(base, requests, others)
    for name in base:
        np.testing.assert_allclose(secure.state[name], expected.state[name], atol=5e-7, rtol=1e-6)


@pytest.mark.parametrize("at", [Stage.SETUP, Stage.SHARE_KEYS])
def test_a_site_that_fails_before_shares_are_distributed_is_excluded(tmp_path, run_local, at):
    federation = write_tiny(tmp_path / "four", sites=4)
    directory, grid = run_local(
        federation, ONE_ROUND, failing(3, at, Error(2, "Traceback\nValueError: asleep"), times=1), nodes=4
    )
    lines = [json.loads(line) for line in open(directory.path / "history.jsonl")]
    assert lines[0]["failures"] == {"site-3": "ValueError: asleep"} and len(lines[0]["site-seconds"]) == 3
    assert all(not line["failures"] and len(line["site-seconds"]) == 4 for line in lines[1:])
    unmasked = [m.metadata.dst_node_id for m in grid.sent if stage(m) == Stage.UNMASK]
    assert sorted(unmasked[:3]) == [1000, 1001, 1002]


@pytest.mark.parametrize("at", [Stage.SETUP, Stage.COLLECT_MASKED_VECTORS])
def test_an_error_without_a_reason_excludes_only_that_site(tmp_path, run_local, at):
    federation = write_tiny(tmp_path / "four", sites=4)
    directory, _ = run_local(federation, ONE_ROUND, failing(3, at, Error(2), times=1), nodes=4)
    lines = [json.loads(line) for line in open(directory.path / "history.jsonl")]
    assert lines[0]["failures"] == {"site-3": "no reason given"} and len(lines[0]["site-seconds"]) == 3
    assert all(not line["failures"] for line in lines[1:])


def test_too_few_sites_stop_the_run_with_their_reasons(federation, run_local):
    with pytest.raises(
        RunError, match="relation, round 1: only 2 sites remain, but .* needs 3 here .site-1: no answer"
    ):
        run_local(federation, SECURE, failing(1, Stage.SETUP), nodes=3)

    def two(request, reply):
        dropped = stage(request) == Stage.COLLECT_MASKED_VECTORS and request.metadata.dst_node_id > 1000
        return None if dropped else reply

    with pytest.raises(RunError, match="only 0 of 3 sites sent .*site-1: no answer in time; site-2: no"):
        run_local(federation, SECURE | {"name": "again"}, two, nodes=3)


def test_an_interrupted_run_can_be_resumed(federation, run_local, finished_run, tmp_path):
    unbroken, _ = finished_run(SECURE, nodes=3)
    count = Counter()

    def tamper(request, reply):
        count["unmask"] += stage(request) == Stage.UNMASK
        return None if count["unmask"] >= 3 * 4 else reply  # in the first round of phase 2

    with pytest.raises(RunError, match="task-condi, round 1: .*resume="):
        run_local(federation, SECURE | {"name": "broken"}, tamper, nodes=3)
    path = tmp_path / "runs" / "broken"
    resumed, _ = run_local(federation, SECURE | {"resume": str(path)}, nodes=3)
    for name in ("imputer", "task-condi"):
        one, two = (load_file(d.path / f"{name}.safetensors") for d in (unbroken, resumed))
        assert all(np.allclose(one[k], two[k], atol=1e-3) for k in one)
    assert len(open(path / "history.jsonl").readlines()) == 5


def test_a_site_that_lost_its_completed_windows_ends_the_attempt_before_anything_is_unmasked(
    federation, run_local
):
    at = Stage.COLLECT_MASKED_VECTORS
    lose = failing(2, at, Error(COMPLETIONS_MISSING, "missing"), times=1)

    def tamper(request, reply):
        settings = request.content.get("fitins.config", {})
        return lose(request, reply) if settings.get("action") == "task" else reply

    directory, grid = run_local(federation, ONE_ROUND, tamper, nodes=3)
    lines = [json.loads(line) for line in open(directory.path / "history.jsonl")]
    assert all(not line["failures"] and len(line["site-seconds"]) == 3 for line in lines)
    stages = Counter(stage(m) for m in grid.sent)
    assert stages[Stage.SETUP] == stages[at] == 3 * 4 and stages[Stage.UNMASK] == 3 * 3
    again = [m for m in grid.sent if m.metadata.message_type == "query.complete"]
    assert [m.content["config"]["site"] for m in again] == ["site-0", "site-1", "site-2", "site-2"]
    assert all(m.content["config"]["splits"] == ["train", "val", "test"] for m in again)


def test_only_seconds_of_work_are_sent_unmasked(finished_run):
    _, grid = finished_run(SECURE, nodes=3)
    masked = []
    for request, reply in zip(grid.sent, grid.received, strict=True):
        assert not request.metadata.message_type.startswith("train.")
        if stage(request) != Stage.COLLECT_MASKED_VECTORS:
            continue
        assert set(reply.content) == {
            "fitres.metrics", "fitres.num_examples", "fitres.parameters", "fitres.status", RECORD_KEY_CONFIGS,
        }  # fmt: skip
        assert not len(reply.content["fitres.parameters"])
        assert set(reply.content["fitres.metrics"]) == {"seconds"}
        assert dict(reply.content["fitres.num_examples"]) == {"num_examples": 1}
        assert set(reply.content[RECORD_KEY_CONFIGS]) == {"masked_params"}
        masked += reply.content[RECORD_KEY_CONFIGS]["masked_params"]
    # Masked numbers, including masked zeros, are distributed uniformly over all 32 bits.
    numbers = np.concatenate([np.frombuffer(m[128:], np.int64) for m in masked if len(m) > 10_000])
    assert len(numbers) > 10_000 and numbers.mean() / 2**32 == pytest.approx(0.5, abs=0.01)
    assert numbers.std() / 2**32 == pytest.approx(12**-0.5, abs=0.01)


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), 9.0])
def test_a_site_refuses_to_mask_numbers_out_of_range(federation, run_local, monkeypatch, bad):
    weighted = at_site.weighted_update

    def spoil(request, reply, owners):
        settings = request.content["config"]
        if (settings["site"], settings["action"], settings["server-round"]) == ("site-1", "imputer", 1):
            arrays = to_numpy(reply.content["arrays"])
            name = sorted(arrays)[0]
            reply.content["arrays"] = to_record(arrays | {name: np.full_like(arrays[name], bad)})
        return weighted(request, reply, owners)

    monkeypatch.setattr(at_site, "weighted_update", spoil)
    directory, _ = run_local(federation, ONE_ROUND, nodes=3)
    lines = [json.loads(line) for line in open(directory.path / "history.jsonl")]
    spoiled = next(line for line in lines if line["phase"] == "imputer")
    assert "is not finite or exceeds 8" in spoiled["failures"]["site-1"] and len(spoiled["site-seconds"]) == 2
    assert all(np.isfinite(a).all() for a in load_file(directory.path / "imputer.safetensors").values())


def test_unsatisfiable_settings_are_refused_at_the_start(tmp_path, federation, run_local, small_settings):
    with pytest.raises(RunError, match="needs at least 3 sites, but 2 connected"):
        run_local(write_tiny(tmp_path / "two", sites=2), SECURE)
    with pytest.raises(RunError, match="a node for each site, but 2 nodes stand for 3 sites"):
        run_local(federation, SECURE, nodes=2)
    assert not (tmp_path / "runs").exists()
    with pytest.raises(
        ConfigError, match="^setting 'secure-aggregation': cannot be combined with privacy.noise"
    ):
        RunConfig.from_flat(small_settings(SECURE | {"privacy.noise-multiplier": 1.0}))


@pytest.mark.parametrize(("number", "threshold"), [(4, 2), (5, 2), (2, 2)])
def test_a_site_does_not_mask_for_a_minority(number, threshold):
    config = ConfigRecord({"stage": Stage.SETUP, "sample_num": number, "threshold": threshold})
    request = Message(RecordDict({RECORD_KEY_CONFIGS: config}), 1000, "train")
    [reply] = LocalGrid(client_app, [{}], {}).send_and_receive([request])
    why = f"this site refuses masks among {number} sites of which {threshold} can unmask it"
    assert reply.error.reason.startswith(why)
