"""ModalityFedAvg: which updates are averaged, and which replies are refused."""

from dataclasses import replace

import numpy as np
import pytest
from flwr.app import Array, ArrayRecord, ConfigRecord, Error, Message, MetricRecord, RecordDict
from flwr.supercore.task_identity import TaskIdentity

from condi_core.evaluation.classification import BINS, DECISION_COUNTS
from condi_core.serialization import PACKED
from server_app.artifacts import scores
from server_app.artifacts.run_directory import RunState
from server_app.artifacts.site_info import SiteInfo
from server_app.errors import RunError
from server_app.federation.records import to_record
from server_app.federation.roster import Roster
from server_app.federation.rounds import Run
from server_app.federation.strategy import ModalityFedAvg
from tests.helpers.small_models import BASE, OWNERS, counts_with, filled
from tests.helpers.tiny_federation import PATCHES, SAMPLES, manifest


@pytest.fixture
def strategy():
    TaskIdentity.run_id = TaskIdentity.node_id = TaskIdentity.task_id = 1
    counts = {"train": 2, "val": 0, "test": 0}
    none = np.zeros((0, 3))
    sites = {
        f"site-{i}": SiteInfo(i + 1, manifest(f"site-{i}", counts), {}, counts, np.ones((4, 3)), none, none)
        for i in range(3)
    }
    return ModalityFedAvg(Roster(sites), "imputer", OWNERS, set(BASE), scores.NO_EVALUATION, min_sites=1)


def exchange(strategy, answers, round_=1):
    """Exchange a round of training; an answer per site is a dict of changes to a valid reply, or an Error."""
    requests = strategy.configure_train(round_, BASE, ConfigRecord({"phase": "imputer"}))
    replies = []
    for message, answer in zip(requests, answers, strict=True):
        message.metadata.__dict__["_message_id"] = "x"
        if isinstance(answer, Error):
            replies.append(Message(answer, reply_to=message))
            continue
        metrics = {"windows": 2.0, "loss": 1.0, "seconds": 0.1, "steps": 1}
        metrics |= {"counts": counts_with(0, 1, 2, 3).ravel().tolist()}
        metrics |= answer.get("metrics", {})
        arrays = {k: v for k, v in (filled(10) | answer.get("arrays", {})).items() if v is not None}
        record = answer.get("record", to_record(arrays))
        content = RecordDict({"arrays": record, "metrics": MetricRecord(metrics)})
        replies.append(Message(content, reply_to=message))
    return strategy.aggregate_train(BASE, requests, replies)


@pytest.mark.parametrize(
    ("answer", "why"),
    [
        (
            {"arrays": {"rows": np.zeros((3, 2), np.float32)}},
            "rows is float32 (3, 2), expected float32 (4, 2)",
        ),
        ({"arrays": {"rows": np.zeros((4, 2), np.float64)}}, "rows is float64"),
        ({"arrays": {"pairs": None}}, "pairs is missing"),
        ({"arrays": {"more": np.zeros(1, np.float32)}}, "more was not requested"),
        ({"arrays": {"shared": np.array([np.nan, 0], np.float32)}}, "shared is not finite"),
        ({"metrics": {"loss": float("inf")}}, "not finite"),
        ({"arrays": {"shared": np.array([1e30, 0], np.float32)}}, "shared has values beyond 1e+06"),
        ({"metrics": {"counts": [1.0]}}, "counts"),
        ({"metrics": {"counts": [2.1] * 16}}, "counts more windows than it has"),
        ({"metrics": {"loss": -1e300}}, "its loss is beyond 1e+06"),
        ({"metrics": {"windows": 1e9}}, "reports 1e+09 windows, but has 2"),
        ({"metrics": {"windows": 0.0}}, "no window"),
        ({"metrics": {"counts": 1.0}}, "cannot be read"),
        ({"metrics": {"seconds": 1e300}}, "reports 1e+300 seconds"),
        ({"metrics": {"seconds": -1.0}}, "reports -1 seconds"),
        ({"metrics": {"steps": 0}}, "in no step"),
        ({"metrics": {"steps": 10**12}}, "in more steps than were requested"),
        (
            {"arrays": {"\x1b[2J\n" + "x" * 400: np.zeros(1, np.float32)}},
            f"?[2J?{'x' * 292}... was not requested",
        ),
        ({"arrays": {f"none-{i}": np.zeros(0) for i in range(99)}}, "expected at most"),
        ({"record": ArrayRecord({"shared": Array(np.zeros(2, np.float32))})}, "not packed as one"),
        ({"record": ConfigRecord({**to_record(filled(10)), "more": 1.0})}, "not packed as one"),
        ({"record": ArrayRecord({PACKED: Array(np.arange(99))})}, "cannot be read (SafetensorError)"),
        (Error(2, "Traceback\n  lines\nValueError: it broke"), "ValueError: it broke"),
        (Error(2), "no reason given"),
        (Error(2, " \n"), "no reason given"),
    ],
)
def test_a_bad_reply_is_refused_by_name_and_the_others_are_averaged(strategy, answer, why):
    outcome = exchange(strategy, [{}, answer, {}])
    failures = outcome.exchange.failures
    assert list(failures) == ["site-1"] and why in failures["site-1"]
    assert list(outcome.exchange.seconds) == ["site-0", "site-2"]
    assert all((a == 10).all() for a in outcome.state.values())
    assert outcome.windows == 4.0


def test_samples_are_counted_in_the_first_round_of_the_relation_alone(strategy):
    strategy.counts_samples = True
    samples = {"metrics": {"counts": [2.0 * PATCHES * SAMPLES] * 16}}
    assert not exchange(strategy, [samples] * 3).exchange.failures
    assert list(exchange(strategy, [samples, {}, {}], round_=2).exchange.failures) == ["site-0"]


def test_claimed_windows_weigh_the_loss_no_more_than_those_of_others_allow(strategy):
    strategy.max_window_ratio = 5.0
    sites = strategy.roster.sites
    claimed = manifest("site-2", {"train": 10**9, "val": 0, "test": 0})
    strategy.roster = replace(
        strategy.roster, sites=sites | {"site-2": replace(sites["site-2"], manifest=claimed)}
    )
    outcome = exchange(strategy, [{}, {}, {"metrics": {"windows": 1e9, "loss": 8.0}}])
    assert outcome.windows == 2 + 2 + 10
    assert outcome.loss == pytest.approx((2 * 1 + 2 * 1 + 10 * 8) / 14)


def test_an_error_without_a_reason_costs_one_reply_in_a_simulation_too(strategy):
    strategy.roster = replace(strategy.roster, virtual=True)
    outcome = exchange(strategy, [{}, Error(2), {}])
    assert outcome.exchange.failures == {"site-1": "no reason given"}


def test_a_site_cannot_answer_in_the_name_of_another(strategy):
    def replies():
        for name, value in (("site-0", 10), ("site-1", 10), ("site-0", 99)):
            message = messages[name]
            metrics = {
                "windows": 2.0,
                "loss": 1.0,
                "seconds": 0.1,
                "steps": 1,
                "counts": counts_with(0, 1, 2, 3).ravel().tolist(),
            }
            content = RecordDict({"arrays": to_record(filled(value)), "metrics": MetricRecord(metrics)})
            yield Message(content, reply_to=message)

    requests = strategy.configure_train(1, BASE, ConfigRecord({}))
    for message in requests:
        message.metadata.__dict__["_message_id"] = "x"
    messages = {m.metadata.group_id: m for m in requests}
    *good, forged = replies()
    forged.metadata.__dict__["_src_node_id"] = 3  # the node of site-2
    outcome = strategy.aggregate_train(BASE, requests, [*good, forged])
    assert outcome.state["shared"].tolist() == [pytest.approx((10 + 10 + 99) / 3)] * 2
    assert list(outcome.exchange.seconds) == ["site-0", "site-1", "site-2"]
    *good, forged = replies()  # now the forged reply comes from the node of site-0
    outcome = strategy.aggregate_train(BASE, requests, [*good, forged])
    assert list(outcome.exchange.seconds) == ["site-1"] and outcome.state["shared"].tolist() == [10, 10]
    assert outcome.exchange.failures["site-0"] == "there were two replies in its name"


def test_replies_without_the_requested_records_are_refused(strategy):
    requests = strategy.configure_train(1, BASE, ConfigRecord({}))
    message = requests[0]
    message.metadata.__dict__["_message_id"] = "x"
    for content in ({}, {"arrays": MetricRecord({"a": 1}), "metrics": MetricRecord({})}):
        with pytest.raises(RunError, match="site-0: its reply is refused"):
            strategy.aggregate_train(BASE, requests, [Message(RecordDict(content), reply_to=message)])


def test_too_few_replies_stop_the_round(strategy):
    with pytest.raises(RunError, match="only 0 of 3 sites sent a valid reply.*site-2: no memory"):
        exchange(strategy, [Error(2, "no memory")] * 3)


def test_order_of_replies_does_not_matter(strategy):
    requests = strategy.configure_train(1, BASE, ConfigRecord({}))
    rng = np.random.default_rng(0)
    replies = []
    for message in requests:
        message.metadata.__dict__["_message_id"] = "x"
        arrays = {k: rng.standard_normal(v.shape).astype(np.float32) for k, v in BASE.items()}
        metrics = {"windows": 2.0, "loss": 1.0, "seconds": 0.1, "steps": 1}
        metrics |= {"counts": counts_with(0, 1, 2, 3).ravel().tolist()}
        replies.append(
            Message(
                RecordDict({"arrays": to_record(arrays), "metrics": MetricRecord(metrics)}), reply_to=message
            )
        )
    in_order, reversed_ = (
        strategy.aggregate_train(BASE, requests, order).state for order in (replies, replies[::-1])
    )
    assert all(np.array_equal(in_order[k], reversed_[k]) for k in BASE)


GOOD = {"task": np.ones((2, len(DECISION_COUNTS) + 2 * BINS))}


def evaluate(strategy, answers):
    """Exchange an evaluation; an answer per site has its arrays and its changed metrics."""
    requests = strategy.configure_evaluate(1, BASE, ConfigRecord({"samples": 0}))
    replies = []
    for message, (arrays, metrics) in zip(requests, answers, strict=True):
        message.metadata.__dict__["_message_id"] = "x"
        scalars = {
            k: v
            for k, v in ({"seconds": 0.1, "loss-sum": 1.0, "windows": 2.0} | metrics).items()
            if v is not None
        }
        content = RecordDict({"arrays": to_record(arrays), "metrics": MetricRecord(scalars)})
        replies.append(Message(content, reply_to=message))
    return strategy.aggregate_evaluate(requests, replies)


@pytest.mark.parametrize(
    ("arrays", "metrics", "why"),
    [
        ({"task": np.ones((2, 1004))}, {}, "task is (2, 1004), expected (2, 2005)"),
        ({"task": np.ones(1)}, {}, "task is (1,)"),
        ({"other": GOOD["task"]}, {}, "other is (2, 2005), expected none"),
        ({}, {}, "task is missing"),
        (GOOD | {f"none-{i}": np.zeros(0) for i in range(999)}, {}, "expected at most"),
        ({"task": GOOD["task"].astype(np.uint8)}, {}, "task is uint8, expected float64"),
        ({"task": GOOD["task"].astype(np.complex64)}, {}, "task is complex64, expected float64"),
        ({"task": np.full((2, len(DECISION_COUNTS) + 2 * BINS), np.nan)}, {}, "not a sum"),
        ({"task": np.full((2, len(DECISION_COUNTS) + 2 * BINS), -1.0)}, {}, "not a sum"),
        (GOOD, {"loss-sum": float("nan")}, "missing, not finite"),
        (GOOD, {"windows": None}, "missing, not finite"),
        (GOOD, {"seconds": None}, "missing, not finite"),
        (GOOD, {"seconds": 1e8}, "reports 1e+08 seconds"),
        (GOOD, {"windows": -1.0}, "negative"),
        (GOOD, {"windows": 3.0}, "more windows than it has"),
        ({"task": np.full((2, len(DECISION_COUNTS) + 2 * BINS), 1e300)}, {}, "not a sum"),
    ],
)
def test_a_bad_evaluation_is_refused_by_name_and_the_others_count(strategy, arrays, metrics, why):
    strategy.evaluation = scores.task_evaluation(strategy.roster.schema)
    outcome = evaluate(strategy, [(GOOD, {}), (arrays, metrics), (GOOD, {})])
    failures = outcome.exchange.failures
    assert list(failures) == ["site-1"] and why in failures["site-1"]
    assert (outcome.sums["task"] == 2).all() and outcome.metrics["score"] == 0.5
    assert list(outcome.site_sums) == ["site-0", "site-2"]


@pytest.mark.parametrize(("windows", "selection"), [((2.0, 2.0, 2.0), 1.0), ((2.0, 0.0, 2.0), 20.25)])
def test_the_best_round_is_selected_by_the_median_over_sites_with_windows_and_tables_by_all_windows(
    strategy, windows, selection
):
    """Losses per window are 0.5, 1 and 40; the reported score is that of all windows together."""
    strategy.evaluation = scores.task_evaluation(strategy.roster.schema)
    losses = [0.5, 1.0, 40.0]
    outcome = evaluate(
        strategy,
        [(GOOD, {"windows": n, "loss-sum": n * loss}) for n, loss in zip(windows, losses, strict=True)],
    )
    pooled = np.dot(windows, losses) / sum(windows)
    assert outcome.metrics["score"] == pytest.approx(pooled)
    assert outcome.selection_score == pytest.approx(selection)


def test_a_score_that_is_not_a_number_never_replaces_the_best():
    state = RunState(models={"m": {"w": np.zeros(1)}})
    run = Run(None, None, "", None, state, None)
    for round_, score in enumerate((float("inf"), 0.7, float("nan"), 0.9, 0.6, float("nan")), start=1):
        state.models["m"] = {"w": np.full(1, round_)}
        run._keep_if_best("m", round_, score)
        assert state.best["m"]["w"] == {1: 1, 2: 2, 3: 2, 4: 2, 5: 5, 6: 5}[round_]
    assert state.scores["m"] == (0.6, 5)
