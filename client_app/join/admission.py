"""What the policy of a site says about a message, as far as the site's own node can check it.

The node checks before a process of the coordinator's app starts. It sees the kind of the message, the run's
settings and the app, and from the audit log what it has answered before.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from datetime import date, datetime
from typing import Any

from client_app.node.site_policy import SitePolicy
from condi_core.settings_text import parse_names

NOTICES = ("query.left_out",)  # kinds of messages that only tell the site something
UPDATES = ("train.relation", "train.imputer", "train.task")
SECURE_UPDATE = "train"  # sent in four stages, see `server_app.federation.secure_aggregation`
SECURE_STAGES = 4
EVALUATIONS_PER_ROUND = 2  # that are answered; runs evaluate once a round, and at the end
PROTECTION_SETTINGS = {
    "secure-aggregation": "secure-aggregation=true",
    "site-noise": "privacy.noise-multiplier above 0",
    "patient-noise": "privacy.patient-epsilon above 0",
}


@dataclass
class AnsweredRuns:
    """What a node has answered so far.

    Parameters
    ----------
    days : dict
        The day on which each run was answered first.
    messages : Counter
        Number of messages by run and kind.
    """

    days: dict[int, date] = field(default_factory=dict)
    messages: Counter[tuple[int, str]] = field(default_factory=Counter)

    @classmethod
    def from_log(cls, entries: list[dict[str, Any]]) -> AnsweredRuns:
        """Read from the entries of an audit log what was answered."""
        answered = cls()
        for entry in entries:
            if entry["kind"] == "run":
                answered.add_run(entry["run"], datetime.fromisoformat(entry["time"]).astimezone().date())
            elif entry["kind"] == "reply" and "error" not in entry:
                answered.messages[entry["run"], entry["message"]] += 1
        return answered

    def add_run(self, run: int, day: date) -> None:
        """Note a run, at its first message."""
        self.days.setdefault(run, day)

    def rounds(self, run: int) -> int:
        """Return the number of training rounds of a run in which this site has sent an update."""
        secure = self.messages[run, SECURE_UPDATE] // SECURE_STAGES
        return secure + sum(self.messages[run, kind] for kind in UPDATES)

    def evaluations(self, run: int) -> int:
        """Return the number of evaluations of a run that this site has answered."""
        return sum(n for (other, kind), n in self.messages.items() if other == run and "evaluate" in kind)

    def runs_on(self, day: date) -> int:
        """Return the number of runs whose first message came on a day."""
        return sum(first == day for first in self.days.values())


def find_refusal(
    policy: SitePolicy,
    message: str,
    run: int,
    settings: dict[str, Any],
    answered: AnsweredRuns,
    now: datetime,
) -> str:
    """Return why a message is not answered, as a sentence about this site; empty if it is answered.

    Parameters
    ----------
    policy : SitePolicy
    message : str
        Kind of the message, such as "train.imputer".
    run : int
        Number of the run.
    settings : dict
        Settings of the run, in flat form.
    answered : AnsweredRuns
    now : datetime
        In the time zone of the site.
    """
    if message in NOTICES:
        return ""
    checks = (
        _check_message(policy, message, settings),
        _check_settings(policy, settings),
        _check_rounds(policy, message, run, settings, answered),
        _check_times(policy, run, answered, now),
    )
    return next((reason for reason in checks if reason), "")


def _check_message(policy: SitePolicy, message: str, settings: dict[str, Any]) -> str:
    if message not in policy.messages or (message == "train.relation" and policy.update_noise_multiplier):
        return f"its policy does not answer messages {message}"
    if message in UPDATES and settings.get("secure-aggregation") is True:
        return "the run has secure-aggregation=true, so it sends no update without masks"
    return ""


def _check_settings(policy: SitePolicy, settings: dict[str, Any]) -> str:
    methods = [str(settings.get("method", "")), *parse_names(str(settings.get("compare-with", "")))]
    if refused := [method for method in methods if method not in policy.methods]:
        return (
            f"its policy does not allow the method {', '.join(refused)}: choose others by method and "
            f"compare-with, from {', '.join(policy.methods)}"
        )
    protections = {
        "secure-aggregation": settings.get("secure-aggregation") is True,
        "site-noise": _number(settings, "privacy.noise-multiplier") > 0,
        "patient-noise": _number(settings, "privacy.patient-epsilon") > 0,
    }
    required = policy.required_protection
    if required and not any(protections[name] for name in required):
        options = " or ".join(PROTECTION_SETTINGS[name] for name in required)
        return f"its policy requires {options}"
    if policy.update_noise_multiplier and _number(settings, "imputer.relation-rounds") > 0:
        return (
            "its policy adds noise to what it sends in training, which the estimation of the cross-spectrum "
            "does not have: set imputer.relation-rounds=0"
        )
    return ""


def _check_rounds(
    policy: SitePolicy, message: str, run: int, settings: dict[str, Any], answered: AnsweredRuns
) -> str:
    methods = 1 + len(parse_names(str(settings.get("compare-with", ""))))
    planned = _number(settings, "imputer.relation-rounds") + _number(settings, "imputer.rounds")
    planned += methods * _number(settings, "task.rounds")
    if planned > policy.rounds_per_run:
        return (
            f"its policy allows {policy.rounds_per_run} training rounds in a run, and the settings ask for "
            f"{planned:g}: lower imputer.rounds or task.rounds, or compare with fewer methods"
        )
    if message.startswith("train") and answered.rounds(run) >= policy.rounds_per_run:
        return f"it has answered the {policy.rounds_per_run} training rounds that its policy allows in a run"
    evaluations = EVALUATIONS_PER_ROUND * policy.rounds_per_run
    if message.startswith("evaluate") and answered.evaluations(run) >= evaluations:
        return f"it has answered the {evaluations} evaluations that its policy allows in a run"
    return ""


def _check_times(policy: SitePolicy, run: int, answered: AnsweredRuns, now: datetime) -> str:
    if not policy.is_open(now.time()):
        return f"its policy answers at {policy.hours}, and it is {now:%H:%M} there: try again later"
    if run not in answered.days and answered.runs_on(now.date()) >= policy.runs_per_day:
        return (
            f"it has answered the {policy.runs_per_day} runs that its policy allows a day: try again tomorrow"
        )
    return ""


def _number(settings: dict[str, Any], key: str) -> float:
    value = settings.get(key, 0)
    return float(value) if isinstance(value, int | float) else 0.0
