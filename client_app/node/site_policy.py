"""The policy of a hospital: what it lets runs do with its data. No run can change it."""

from __future__ import annotations

import hashlib
import json
import re
import textwrap
from collections.abc import Callable, Collection
from datetime import time
from pathlib import Path
from typing import Annotated, Any, Self

from pydantic import AfterValidator, Field, ValidationError, ValidationInfo, field_validator

from condi_core.methods import BUILT_IN_METHODS, METHOD_NAMES
from data_partitions.description.complaints import complaints_of, suggest
from data_partitions.description.reference import field_texts
from data_partitions.description.section import Section, Texts, fields_by_key
from data_partitions.description.toml_lines import nearest_place, read_toml
from data_partitions.errors import DataError

# Kinds of messages that send something of the site's data; `train` is training under secure aggregation.
MESSAGES = (
    "query.describe",
    "train",
    "train.relation",
    "train.imputer",
    "evaluate.imputer",
    "query.complete",
    "train.task",
    "evaluate.task",
)
PROTECTIONS = ("secure-aggregation", "site-noise", "patient-noise")
APPS = ("installed", "any")
TEXT_WIDTH = 100


def _check_words(words: Collection[str], what: str) -> Callable[[tuple[str, ...]], tuple[str, ...]]:
    """Return a check that all words of a list are among those that are known."""

    def check(values: tuple[str, ...]) -> tuple[str, ...]:
        for value in values:
            if value not in words:
                advice = suggest(value, words, '"') or f": expected {', '.join(words)}"
                raise ValueError(f'there is no {what} "{value}"{advice}')
        return values

    return check


def _check_apps(apps: tuple[str, ...]) -> tuple[str, ...]:
    for app in apps:
        if app not in APPS and not re.fullmatch("[0-9a-f]{64}", app):
            advice = suggest(app, APPS, '"') or ", which has 64 digits of 0-9 and a-f"
            raise ValueError(f'expected "installed", "any" or the SHA-256 of an app, got "{app}"{advice}')
    return apps


def _check_hours(hours: str) -> str:
    match = re.fullmatch(r"(\d\d):([0-5]\d)-(\d\d):([0-5]\d)", hours)
    if not match or max(match[1] + match[2], match[3] + match[4]) > "2400" or match[1] == "24":
        raise ValueError(f'expected hours such as "07:00-19:00", got "{hours}"')
    if hours[:5] == hours[6:]:
        raise ValueError(f'expected an end that differs from the start, got "{hours}"')
    return hours


class SitePolicy(Section):
    """What a hospital lets runs do with its data.

    Parameters
    ----------
    smallest_count
        Smallest number of patients behind a count or score that leaves this site. Splits, labels and
        subgroups with fewer are withheld, and a site with fewer patients for training takes part in nothing.
        A run's privacy.smallest-count applies where it is larger.
    covariates
        Names of the covariates, such as age, of whose subgroups scores may leave, and which may be inputs of
        models; "all", or [] for none.
    messages
        Kinds of messages that are answered.
    methods
        Methods that may be trained and evaluated. Those of other packages, which are installed here, are
        answered only where they are named.
    required_protection
        A run must have at least one of these: "secure-aggregation" (secure-aggregation=true: the coordinator
        gets sums over sites alone), "site-noise" (privacy.noise-multiplier above 0: those who receive models
        learn little about one site; the coordinator adds this noise, which sites cannot check),
        "patient-noise" (privacy.patient-epsilon above 0: the site adds noise to all that it sends of patients
        for training). Empty: nothing is required.
    update_clip_norm
        The site's own limit of its update in each training round: the largest L2 norm of the change of all
        weights. 0: none.
    update_noise_multiplier
        The site's own Gaussian noise in each update, in units of that norm: differential privacy of all data
        of this site towards everybody, the coordinator included, in the weights that it sends (condi site
        --check prints its epsilon). The site then refuses the estimation of the cross-spectrum, which has no
        such limit. 0: none.
    max_epsilon
        Largest epsilon of the differential privacy of patients that all runs with privacy.patient-epsilon
        may spend together, by the entries of the audit log; 0: no limit.
    delta
        The delta of max-epsilon.
    rounds_per_run
        Largest number of training rounds of a run, over both phases and all methods; at most twice as many
        evaluations are answered, beside the scores that come with an update.
    runs_per_day
        Largest number of runs that are answered on one day.
    hours
        Time of day in which runs are answered, in the time zone of this machine, such as "20:00-06:00".
    accepted_apps
        Which code of a coordinator runs here: "installed" (files that equal those of the CondI that is
        installed here), the SHA-256 of an app (sha256sum of what `flwr build` writes), or "any". Only with
        accepted code does this site know that the rest of this policy is followed.
    """

    smallest_count: Annotated[int, Field(ge=0, strict=True)] = 10
    covariates: Texts = ("all",)
    messages: Annotated[Texts, AfterValidator(_check_words(MESSAGES, "message"))] = MESSAGES
    methods: Annotated[Texts, AfterValidator(_check_words(METHOD_NAMES, "method"))] = BUILT_IN_METHODS
    required_protection: Annotated[Texts, AfterValidator(_check_words(PROTECTIONS, "protection"))] = ()
    update_clip_norm: Annotated[float, Field(ge=0, strict=True)] = 0.0
    update_noise_multiplier: Annotated[float, Field(ge=0, strict=True)] = 0.0
    max_epsilon: Annotated[float, Field(ge=0, strict=True, allow_inf_nan=False)] = 0.0
    delta: Annotated[float, Field(gt=0, lt=1, strict=True)] = 1e-5
    rounds_per_run: Annotated[int, Field(ge=1, strict=True)] = 1000
    runs_per_day: Annotated[int, Field(ge=1, strict=True)] = 20
    hours: Annotated[str, AfterValidator(_check_hours)] = "00:00-24:00"
    accepted_apps: Annotated[Texts, AfterValidator(_check_apps)] = ("installed",)

    @field_validator("update_noise_multiplier")
    @classmethod
    def _noise_needs_a_limit(cls, noise: float, info: ValidationInfo) -> float:
        if noise and not info.data.get("update_clip_norm", 1.0):
            raise ValueError("expected `update-clip-norm` above 0, because this noise is a multiple of it")
        return noise

    @classmethod
    def from_json(cls, text: str) -> Self:
        """Read what `to_json` wrote."""
        return cls.model_validate_json(text)

    def to_json(self) -> str:
        """Return the policy on one line, as the node config carries it to the apps of this site."""
        return json.dumps(self.model_dump(mode="json", by_alias=True))

    @property
    def digest(self) -> str:
        """SHA-256 by which the audit log names the policy."""
        return hashlib.sha256(self.to_json().encode()).hexdigest()

    def is_open(self, now: time) -> bool:
        """Whether runs are answered at a time of day."""
        start, end = self.hours.split("-")
        text = now.strftime("%H:%M")
        return start <= text < end if start < end else text >= start or text < end

    def allows_covariate(self, name: str) -> bool:
        """Whether scores of the subgroups of a covariate may leave."""
        return "all" in self.covariates or name in self.covariates


# Of nodes without a policy: those of a simulation, and what a hospital computes for itself.
NO_POLICY = SitePolicy(smallest_count=0, methods=METHOD_NAMES, accepted_apps=("any",))


def read_policy(path: Path) -> SitePolicy:
    """Read a policy file; DataError with the line of each problem and what to write instead."""
    if not path.exists():
        raise DataError(f"there is no policy {path}: condi site --write-policy FILE writes the default one")
    table, places = read_toml(path)
    try:
        return SitePolicy.model_validate(table, by_alias=True, by_name=False)
    except ValidationError as error:
        complaints = complaints_of(error, SitePolicy)
    placed = sorted((nearest_place(places, key) or places[""], sentence) for key, sentence in complaints)
    raise DataError("\n".join(f"{place}: {sentence}" for place, sentence in placed))


def write_policy_text() -> str:
    """Write the default policy with the meaning of each key as comments."""
    texts, lines = field_texts(SitePolicy), ["# What this hospital lets runs do with its data."]
    for key, field in fields_by_key(SitePolicy).items():
        default: Any = field.default
        value = "all" if default == ("all",) else default
        lines += ["", *textwrap.wrap(texts[key], TEXT_WIDTH, initial_indent="# ", subsequent_indent="# ")]
        lines.append(f"{key} = {json.dumps(value)}")  # JSON of numbers, texts and lists is TOML
    return "\n".join(lines) + "\n"
