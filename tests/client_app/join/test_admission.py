"""What a site's policy says about a message, from the run's settings and what was answered before."""

from __future__ import annotations

from datetime import date, datetime

import pytest

from client_app.join.admission import AnsweredRuns, find_refusal
from client_app.node.site_policy import SitePolicy
from tests.helpers.run_settings import flat_defaults

NOON = datetime(2026, 3, 4, 12, 0).astimezone()


def refusal(policy: dict, message: str = "query.describe", answered=None, run=7, now=NOON, **changes) -> str:
    settings = flat_defaults() | {k.replace("__", ".").replace("_", "-"): v for k, v in changes.items()}
    return find_refusal(
        SitePolicy(**policy), message, run, settings, AnsweredRuns() if answered is None else answered, now
    )


def test_the_default_policy_answers_a_run_with_default_settings():
    assert refusal({}) == "" == refusal({}, "train.imputer")


def test_a_kind_of_message():
    policy = {"messages": ["query.describe", "evaluate.task"]}
    assert refusal(policy, "evaluate.task") == ""
    assert refusal(policy, "train.task") == "its policy does not answer messages train.task"
    assert refusal(policy, "query.left_out") == ""


def test_a_method():
    expected = "its policy does not allow the method mask: choose others by method and compare-with, from "
    assert (
        refusal({"methods": ["condi", "mean"]}) == f"{expected}condi, mean"
    )  # that of compare-with, by default
    assert refusal({"methods": ["condi", "mean"]}, compare_with="mean") == ""


@pytest.mark.parametrize(
    ("required", "settings", "refused"),
    [
        ([], {}, ""),
        (["secure-aggregation"], {}, "its policy requires secure-aggregation=true"),
        (["secure-aggregation"], {"secure_aggregation": True}, ""),
        (
            ["site-noise"],
            {"secure_aggregation": True},
            "its policy requires privacy.noise-multiplier above 0",
        ),
        (["site-noise"], {"privacy__noise_multiplier": 1.0}, ""),
        (["secure-aggregation", "site-noise"], {"privacy__noise_multiplier": 1.0}, ""),
        (["patient-noise"], {"privacy__patient_epsilon": 3.0}, ""),
        (["patient-noise"], {}, "its policy requires privacy.patient-epsilon above 0"),
        (
            ["secure-aggregation", "site-noise"],
            {},
            "its policy requires secure-aggregation=true or privacy.noise-multiplier above 0",
        ),
        (["secure-aggregation"], {"secure_aggregation": "no"}, "its policy requires secure-aggregation=true"),
    ],
)
def test_a_protection_that_is_required(required, settings, refused):
    assert refusal({"required_protection": required}, **settings) == refused


def test_the_sites_own_noise_refuses_the_cross_spectrum():
    policy = {"update_clip_norm": 1.0, "update_noise_multiplier": 1.0}
    assert refusal(policy).endswith("set imputer.relation-rounds=0")
    assert refusal(policy, imputer__relation_rounds=0) == ""
    expected = "its policy does not answer messages train.relation"
    assert refusal(policy, "train.relation", imputer__relation_rounds=0) == expected


def test_a_run_that_asks_for_too_many_rounds_is_refused_at_its_start():
    # 3 of the cross-spectrum, 3 of the imputer, 5 for each of two methods
    assert refusal({"rounds_per_run": 16}) == ""
    assert refusal({"rounds_per_run": 15}).startswith(
        "its policy allows 15 training rounds in a run, and the settings ask for 16: "
    )


def test_rounds_beyond_the_settings_are_refused_when_they_come():
    answered = AnsweredRuns()
    answered.messages.update({(7, "train.relation"): 3, (7, "train.imputer"): 12, (8, "train.imputer"): 99})
    assert refusal({"rounds_per_run": 16}, "train.task", answered) == ""
    answered.messages[7, "train"] = 3
    assert refusal({"rounds_per_run": 16}, "train.task", answered) == ""
    answered.messages[7, "train"] = 4  # the stages of one round of secure aggregation
    expected = "it has answered the 16 training rounds that its policy allows in a run"
    assert refusal({"rounds_per_run": 16}, "train.task", answered) == expected


def test_evaluations_beyond_the_settings_are_refused_when_they_come():
    answered = AnsweredRuns()
    answered.messages.update({(7, "evaluate.imputer"): 20, (7, "evaluate.task"): 11, (8, "evaluate.task"): 9})
    assert refusal({"rounds_per_run": 16}, "evaluate.task", answered) == ""
    answered.messages[7, "evaluate.task"] += 1
    expected = "it has answered the 32 evaluations that its policy allows in a run"
    assert refusal({"rounds_per_run": 16}, "evaluate.task", answered) == expected
    assert refusal({"rounds_per_run": 16}, "train.task", answered) == ""


def test_updates_without_masks_in_a_run_with_secure_aggregation():
    expected = "the run has secure-aggregation=true, so it sends no update without masks"
    for message in ("train.relation", "train.imputer", "train.task"):
        assert refusal({}, message, secure_aggregation=True) == expected
    assert refusal({}, "train", secure_aggregation=True) == ""
    assert refusal({}, "evaluate.task", secure_aggregation=True) == ""


def test_runs_a_day():
    answered = AnsweredRuns({1: date(2026, 3, 4), 2: date(2026, 3, 4), 3: date(2026, 3, 3)})
    assert refusal({"runs_per_day": 3}, answered=answered) == ""
    assert refusal({"runs_per_day": 2}, answered=answered) == (
        "it has answered the 2 runs that its policy allows a day: try again tomorrow"
    )
    assert refusal({"runs_per_day": 2}, answered=answered, run=2) == ""
    assert refusal({"runs_per_day": 2}, answered=answered, now=NOON.replace(day=5)) == ""


def test_hours():
    assert refusal({"hours": "20:00-06:00"}) == (
        "its policy answers at 20:00-06:00, and it is 12:00 there: try again later"
    )
    assert refusal({"hours": "20:00-06:00"}, now=NOON.replace(hour=23)) == ""


def test_what_was_answered_is_read_from_the_audit_log():
    time = "2026-03-04T12:00:00.000+00:00"
    entries = [
        {"kind": "start", "time": time},
        {"kind": "run", "time": time, "run": 7},
        {"kind": "reply", "time": time, "run": 7, "message": "train.imputer"},
        {"kind": "reply", "time": time, "run": 7, "message": "train.imputer", "error": 2},
        {"kind": "reply", "time": time, "run": 7, "message": "query.describe"},
        {"kind": "refusal", "time": time, "run": 8, "message": "query.describe"},
    ]
    answered = AnsweredRuns.from_log(entries)
    day = datetime.fromisoformat(time).astimezone().date()
    assert (answered.days, answered.rounds(7), answered.runs_on(day)) == ({7: day}, 1, 1)
