"""Bad settings are refused in a sentence before Flower is started, whichever command gets them."""

from __future__ import annotations

import subprocess
import sys

import pytest
from typer.testing import CliRunner

from server_app.cli import app
from server_app.operations import simulate, submit
from server_app.study.design import read_study
from server_app.study.errors import StudyError
from tests.helpers.run_settings import as_pairs, flat_defaults

# One bad value of every setting. Those of a type's kind, such as a text for a number, are in `test_config`.
BAD_VALUES = {
    "federation": "/no/federation",
    "output": "/dev/null",
    "name": "folder/run",
    "resume": "/no/run",
    "queue": "yes",
    "on-end": "notify run",
    "track": "wandb",
    "method": "cond",
    "compare-with": "mask,locl",
    "method-options": "condi.mu=0.1",
    "test-missingness": "points=1.5",
    "seed": 2**63,
    "sites": "hospital-9",
    "min-sites": 5,
    "sites-per-round": 1.5,
    "sites-per-evaluation": 0.0,
    "quorum": 0.0,
    "transport": "float64",
    "sites-timeout": 0.0,
    "round-timeout": 1e12,
    "patience": -1,
    "averaging": "average",
    "max-window-ratio": 0.5,
    "secure-aggregation": 1,
    "missingness.points": 1.5,
    "missingness.points-mechanism": "mcr",
    "missingness.gaps": -0.1,
    "missingness.gaps-mechanism": "random",
    "missingness.gap-patches": 0,
    "missingness.bursts": 1.0,
    "missingness.burst-patches": 0.0,
    "missingness.blackout": 2.0,
    "missingness.modality-by-window": 1.0,
    "missingness.modality-by-site": -1.0,
    "missingness.subsample-to": -1.0,
    "privacy.smallest-count": -1,
    "privacy.noise-multiplier": -0.1,
    "privacy.clip-imputer": 0.0,
    "privacy.clip-task": 0.0,
    "privacy.delta": 1.0,
    "privacy.patient-epsilon": -1.0,
    "privacy.value-ranges": "HR=200:30",
    "privacy.clip-patient": 0.0,
    "imputer.relation-rounds": -1,
    "imputer.rounds": 0,
    "imputer.steps": 0,
    "imputer.batch": 0,
    "imputer.crop": -1,
    "imputer.token-patches": -1,
    "imputer.optimizer": "adam",
    "imputer.learning-rate": 0.0,
    "imputer.width": 0,
    "imputer.heads": 5,
    "imputer.blocks": 0,
    "imputer.pair-width": 0,
    "imputer.sampling-steps": 0,
    "imputer.samples": -1,
    "task.rounds": 0,
    "task.steps": 0,
    "task.batch": 0,
    "task.optimizer": "adamW",
    "task.learning-rate": -0.1,
    "task.learning-rate-by-method": "condi=0",
    "task.width": 0,
    "task.heads": 0,
    "task.blocks": 0,
    "task.pair-width": 0,
    "task.completions": -1,
    "task.covariates": "no",
}
OF_THIS_MACHINE = {"federation", "output", "resume", "sites", "min-sites"}  # which only `condi run` knows
REFUSE = """
import sys, time
from typer.testing import CliRunner
from server_app.cli import app
result = CliRunner().invoke(app, ["run", "-c", sys.argv[1]])
print(result.exit_code, result.output.strip())
print(*{"torch", "flwr", "ray", "pandas"} & sys.modules.keys())
"""


@pytest.fixture
def refusal(monkeypatch):
    """Invoke a command that must refuse its arguments without Flower, and return what it prints."""

    def start_flower():
        raise AssertionError("Flower is started")

    monkeypatch.setattr(simulate, "FlowerProcesses", start_flower)
    monkeypatch.setattr(submit, "FlowerProcesses", start_flower)
    monkeypatch.setattr(submit, "registered_names", lambda *_: ["north", "south"])

    def invoke(*arguments):
        result = CliRunner().invoke(app, arguments)
        assert result.exit_code == 2 and result.output.startswith("Error: "), result.output
        assert result.output.count("\n") == 1
        return result.output.removeprefix("Error: ").strip()

    return invoke


def test_every_setting_has_a_bad_value_here():
    assert BAD_VALUES.keys() == flat_defaults().keys()


@pytest.mark.parametrize("setting", BAD_VALUES)
def test_a_bad_value_is_refused_by_every_command_before_flower_starts(refusal, setting):
    pair = as_pairs({setting: BAD_VALUES[setting]})
    named = {"federation": "there is no federation at /no/federation"}.get(setting, f"setting '{setting}': ")
    assert refusal("run", "-c", pair).startswith(named)
    if setting not in OF_THIS_MACHINE:
        assert refusal("submit", "--superlink", "localhost:1", "-c", pair).startswith(named)
        with pytest.raises(StudyError, match=setting.split(".")[-1]):
            read_study(
                {"methods": ["condi"], "seeds": [0], "data": {"d": {"dataset": "demo"}}}
                | {"settings": {setting: BAD_VALUES[setting]}}
            )


@pytest.mark.parametrize("setting", ["imputor.rounds", "holes.points", "method.s", "zzzz"])
def test_an_unknown_setting_is_refused(refusal, setting):
    assert refusal("run", "-c", f"{setting}=1").startswith(f"unknown setting '{setting}'")
    assert "did you mean 'imputer.rounds'?" in refusal("run", "-c", "imputor.rounds=1")


def test_sites_that_a_run_asks_for_must_exist(refusal, tmp_path):
    assert refusal("run", "-c", "min-sites=5") == (
        "setting 'min-sites': expected at most 4, the number of sites that the federation has, got 5: lower "
        "it or add sites."
    )
    assert refusal("run", "-c", "sites='hospital-1' min-sites=2").startswith(
        "setting 'min-sites': expected at most 1, the number of sites that `sites` names, got 2"
    )
    for name in ("a", "b", "c"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "manifest.json").touch()
    assert "expected at most 3, " in refusal("run", "--federation", str(tmp_path), "-c", "min-sites=4")
    assert "the federation has no site 'd': choose from a, b, c" in refusal(
        "run", "--federation", str(tmp_path), "-c", "sites='d'"
    )
    submit_with = ("submit", "--superlink", "localhost:1", "-c")
    assert "that the SuperLink has, got 3" in refusal(*submit_with, "min-sites=3")
    assert "the SuperLink has no site 'nort' (did you mean 'north'?)" in refusal(*submit_with, "sites='nort'")


def test_methods_that_do_not_go_together_with_privacy_are_refused(refusal):
    secure = "secure-aggregation=true averaging='mean' method='fednova'"
    assert refusal("run", "-c", secure).startswith("method 'fednova' needs the update of each single site")
    private = "privacy.patient-epsilon=1.0 compare-with='mifl'"
    assert refusal("run", "-c", private).startswith("method 'mifl' compares windows of different patients")


def test_a_refusal_needs_no_slow_import():
    result = subprocess.run(
        [sys.executable, "-c", REFUSE, "imputer.rounds=0"], capture_output=True, text=True
    )
    assert result.stdout.splitlines() == [
        "2 Error: setting 'imputer.rounds': input should be greater than or equal to 1, got 0.",
        "",
    ]
