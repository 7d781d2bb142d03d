"""Secure aggregation: equality with the plain average within quantisation, dropouts, and unmasked data."""

import json
from collections import Counter
from functools import partial
from types import SimpleNamespace

import numpy as np
import pytest
from flwr.app import Error
from flwr.common.secure_aggregation.secaggplus_constants import RECORD_KEY_CONFIGS, Stage
from safetensors.numpy import load_file

from client_app.node import secure_aggregation as at_site
from condi_core.config import ConfigError, RunConfig
from condi_core.ownership import aggregation_weights
from condi_core.protocol import COMPLETIONS_MISSING
from condi_core.serialization import unpack_arrays
from server_app.errors import RunError
from server_app.federation.records import to_record
from server_app.federation.replies import ReplyError
from server_app.federation.secure_aggregation import RANGES
from server_app.federation.secure_attempt import _ProtocolStrategy
from tests.helpers.secure_rounds import failing, secure_round, stage, write_four_sites
from tests.helpers.tiny_federation import write_tiny

SITES = ["site-0", "site-1", "site-2", "site-3"]
SECURE = {"secure-aggregation": True, "averaging": "mean"}
ONE_ROUND = SECURE | {"imputer.rounds": 1, "imputer.samples": 0, "task.rounds": 1}
STEP = 2.0 / 2**29  # quantisation step of numbers from -1 to 1, with three or four sites


@pytest.fixture
def make_round(tmp_path, small_settings):
    """`make_round(action, number)`: a round of four sites; see `SecureRound`."""
    federation = write_four_sites(tmp_path / "four")
    return partial(secure_round, federation, small_settings())


@pytest.mark.parametrize(
    ("action", "round_"), [("relation", 1), ("relation", 2), ("imputer", 1), ("task", 1)]
)
def test_the_secure_average_equals_the_plain_one_within_quantisation(make_round, action, round_):
    secure_round = make_round(action, round_)
    base, training = secure_round.base, secure_round.training
    plain, secure = secure_round.plain(*SITES), secure_round.train()
    assert secure.windows == plain.windows and secure.loss == pytest.approx(plain.loss, rel=1e-6)
    assert secure.exchange.requested == SITES and not secure.exchange.failures
    assert secure.exchange.bytes_down > 0 and secure.exchange.bytes_up > 0
    samples = 60 if (action, round_) == ("relation", 1) else 1
    by_site = [np.array(r.content["metrics"]["counts"]).reshape(4, 4) for r in secure_round.replies]
    is_summed = np.sum([counts > 0 for counts in by_site], axis=0) >= 3
    is_summed[3] = is_summed[:, 3] = False  # two sites have d
    assert is_summed[:3, :3].all()
    counts = np.where(is_summed, sum(by_site), 0) / (4 * 8 * samples)
    changed = 0
    for name, start in base.items():
        if name not in training.strategy.returned:
            assert np.array_equal(secure.state[name], start)
            continue
        weight = aggregation_weights(training.strategy.owners[name], counts, 1.0, start.shape)
        weight = np.broadcast_to(weight, start.shape)
        expected, after = np.where(weight, plain.state[name], start), secure.state[name]
        moved = np.abs(expected.astype(float) - start)
        bound = STEP * (RANGES[action] + moved) / np.maximum(weight, 1e-3) + 2e-7 * (np.abs(start) + moved)
        assert after.dtype == start.dtype and (np.abs(after - expected) <= bound).all(), name
        assert (after == start)[weight == 0].all()
        changed += (np.abs(after - start) > 10 * bound).sum()
    assert changed > 100


def test_one_of_four_sites_may_drop_out_while_it_trains(make_round):
    secure_round = make_round("task")
    secure_round.grid.tamper = failing(1, Stage.COLLECT_MASKED_VECTORS)
    secure = secure_round.train()
    assert secure.exchange.failures == {"site-1": "no answer in time"}
    assert list(secure.exchange.seconds) == ["site-0", "site-2", "site-3"] and secure.windows == 24
    expected = secure_round.plain("site-0", "site-2", "site-3")
    changed = 0
    for name, owner in secure_round.training.strategy.owners.items():
        after, start = secure.state[name], secure_round.base[name]
        is_close = np.isclose(after, expected.state[name], atol=5e-7, rtol=1e-6)
        assert (is_close if owner.kind == "shared" else is_close | (after == start)).all(), name
        changed += (after != start).sum()
    assert changed > 100


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
        RunError, match="relation, round 1: only 2 of 3 sites remain, but .* needs 3 here .site-1: no answer"
    ):
        run_local(federation, SECURE, failing(1, Stage.SETUP), nodes=3)

    def two(request, reply):
        dropped = stage(request) == Stage.COLLECT_MASKED_VECTORS and request.metadata.dst_node_id > 1000
        return None if dropped else reply

    with pytest.raises(RunError, match="only 1 of 3 sites remain.*site-1: no answer in time; site-2: no"):
        run_local(federation, SECURE | {"name": "again"}, two, nodes=3)


@pytest.mark.slow
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
        # An optimiser turns what quantisation changes into up to some steps of the learning rate.
        assert all(np.allclose(one[k], two[k], atol=4e-3) for k in one)
    assert len(open(path / "history.jsonl").readlines()) == 5


@pytest.mark.slow
def test_a_round_that_was_summed_is_not_trained_again_after_an_interruption(federation, run_local, tmp_path):
    def cut_off(request, reply):
        return None if request.metadata.message_type == "evaluate.imputer" else reply

    with pytest.raises(RunError, match="imputer, round 1"):
        run_local(federation, ONE_ROUND | {"name": "broken"}, cut_off, nodes=3)
    resumed, grid = run_local(federation, ONE_ROUND | {"resume": str(tmp_path / "runs" / "broken")}, nodes=3)
    masked = [message for message in grid.sent if stage(message) == Stage.COLLECT_MASKED_VECTORS]
    assert [message.content["fitins.config"]["phase"] for message in masked] == ["task-condi"] * 3
    lines = [json.loads(line) for line in open(resumed.path / "history.jsonl")]
    assert [line["phase"] for line in lines] == ["relation", "imputer", "task-condi"]
    assert len(lines[1]["site-seconds"]) == 3 and lines[1]["metrics"]
    assert lines[1]["seconds"] > lines[1]["train-seconds"]


@pytest.mark.slow
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
    assert [m.metadata.group_id for m in again] == ["site-0", "site-1", "site-2", "site-2"]
    assert all(m.content["config"]["splits"] == ["train", "val", "test"] for m in again)


@pytest.mark.slow
def test_only_seconds_and_trained_modalities_are_sent_unmasked(finished_run):
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
        assert set(reply.content["fitres.metrics"]) == {"seconds", "trained"}
        assert set(reply.content["fitres.metrics"]["trained"]) <= {0, 1}
        assert dict(reply.content["fitres.num_examples"]) == {"num_examples": 1}
        assert set(reply.content[RECORD_KEY_CONFIGS]) == {"masked_params"}
        masked += reply.content[RECORD_KEY_CONFIGS]["masked_params"]
    # Masked numbers, including masked zeros, are distributed uniformly over all 32 bits.
    numbers = np.concatenate([np.frombuffer(m[128:], np.int64) for m in masked if len(m) > 10_000])
    assert len(numbers) > 10_000 and numbers.mean() / 2**32 == pytest.approx(0.5, abs=0.01)
    assert numbers.std() / 2**32 == pytest.approx(12**-0.5, abs=0.01)


@pytest.mark.parametrize("seconds", [float("nan"), -1.0, 1e12])
def test_impossible_seconds_of_a_site_are_refused(seconds):
    strategy = _ProtocolStrategy({1: "site-1"}, {}, {})
    result = SimpleNamespace(metrics={"seconds": seconds}, parameters=None)
    with pytest.raises(ReplyError, match="it reports .* seconds"):
        strategy.aggregate_fit(1, [(SimpleNamespace(node_id=1), result)], [])
    assert not strategy.seconds


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), 9.0])
def test_a_site_refuses_to_mask_numbers_out_of_range(tmp_path, run_local, monkeypatch, bad):
    weighted = at_site.weighted_update

    def spoil(request, reply, owners):
        settings = request.content["config"]
        if (settings["site"], settings["action"], settings["server-round"]) == ("site-1", "imputer", 1):
            arrays = unpack_arrays(reply.content["arrays"])
            name = sorted(arrays)[0]
            reply.content["arrays"] = to_record(arrays | {name: np.full_like(arrays[name], bad)})
        return weighted(request, reply, owners)

    monkeypatch.setattr(at_site, "weighted_update", spoil)
    federation = write_tiny(tmp_path / "four", sites=4)
    directory, _ = run_local(federation, ONE_ROUND, nodes=4)
    lines = [json.loads(line) for line in open(directory.path / "history.jsonl")]
    spoiled = next(line for line in lines if line["phase"] == "imputer")
    assert "is not finite or exceeds 8" in spoiled["failures"]["site-1"] and len(spoiled["site-seconds"]) == 3
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
