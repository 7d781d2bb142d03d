"""Runs of a study without an engine: the files of a finished run, with scores that a test chooses."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import numpy as np

from condi_core.config import RunConfig
from condi_core.methods import METHODS
from condi_core.protocol import fingerprint
from server_app.artifacts.run_directory import RunDirectory, RunState
from server_app.settings import validate_settings
from server_app.study.design import read_study
from server_app.study.federations import Federations
from server_app.study.grid import StudyGrid
from server_app.study.runner import StudyRunner
from tests.helpers.tiny_federation import manifest, write_tiny

STUDY = {
    "methods": ["mask", "condi"],
    "seeds": [0, 1, 2],
    "data": {"waves": {"dataset": "demo"}},
    "missingness": {"points": [0.2, 0.8]},
}
# The file of a study with one scenario; settings can be appended.
STUDY_FILE = """
methods = ["mask", "condi"]
seeds = [0]
[data.ecg]
dataset = "ptb-xl"
source = "source"
[partition]
split = "iid"
sites = 2
[missingness]
points = [0.6]
[settings]
"""
# (config, method) → validation scores of the rounds, and AUROC on the test windows
Scores = Callable[[RunConfig, str], tuple[list[float], float]]


def plain(config: RunConfig, method: str) -> tuple[list[float], float]:
    return [0.9, 0.5, 0.7], 0.8 + 0.05 * (method == "condi") - 0.2 * dict(config.missingness)[
        "points"
    ] + 0.01 * config.seed


class FakeRuns:
    """Finishes runs at once. `started` has the settings of each; `stop_at(number)` may raise in the n-th."""

    def __init__(self, scores: Scores = plain, stop_at: Callable[[int], None] = lambda number: None) -> None:
        self.scores = scores
        self.stop_at = stop_at
        self.started: list[dict] = []

    def __call__(self, settings: dict) -> None:
        config = validate_settings(settings)
        self.started.append(settings)
        if config.resume:
            directory = RunDirectory.resume(config)
        else:
            directory = RunDirectory.create(config, "waves")
            site = {"manifest": manifest("site-0", {"train": 8, "val": 3, "test": 3}).model_dump(mode="json")}
            directory.write("roster.json", json.dumps({"site-0": site}))
        self.stop_at(len(self.started))
        write_run(directory, config, self.scores)


def write_run(directory: RunDirectory, config: RunConfig, scores: Scores) -> None:
    """Write the history, weights and result of a run with 10 relation rounds; each round takes 1 s."""
    lines = [line("relation", 0.0)] * 10
    methods = [config.method, *filter(None, config.compare_with.split(","))]
    result = {"imputation": {}, "task": {}, "answered": {}}
    if any(METHODS[m].complete for m in methods):
        directory.save_model("imputer", {"w": np.zeros((10, 3))}, lambda site: {})
        score = {"mae": 0.1, "rmse": 0.2, "crps": 0.1, "coverage": 0.0, "rmse by modality": [0.2]}
        result["imputation"] = {"gaps 50 %": {"condi": score, "linear": score | {"rmse": 0.4}}}
    for method in methods:
        validation, auroc = scores(config, method)
        lines = lines + [line(f"task-{method}", score) for score in validation]
        result["task"][method] = {"auroc": auroc, "auprc": 0.5, "f1": 0.5, "accuracy": 0.5}
        result["answered"][f"task-{method}"] = {"sites": ["site-0"], "failures": {}}
        directory.save_model(f"task-{method}", {"w": np.zeros(7), "b": np.zeros((2, 2))}, lambda site: {})
    rounds = Counter(entry["phase"] for entry in lines)
    directory.save(RunState(dict(rounds), history=lines))
    directory.write("versions.json", json.dumps({"code": fingerprint()}))
    directory.write("result.json", json.dumps(result))


def line(phase: str, score: float) -> dict:
    cost = {"seconds": 1.0, "bytes-down": 100, "bytes-up": 50, "failures": {}}
    return {"phase": phase, "metrics": {"score": score, "auroc": 0.1}, "selection-score": score, **cost}


def tiny_study(
    folder: Path, run: Callable[[dict], None], monkeypatch, sources: dict[str, Path] | None = None, **changes
) -> StudyRunner:
    """Make a study of tiny federations in a folder; its progress lines are in `messages` of the result."""
    study = read_study(STUDY | {key.replace("_", "-"): value for key, value in changes.items()})
    messages: list[str] = []

    def prepare(self, name, partition, seed, path):
        path.parent.mkdir(parents=True, exist_ok=True)
        write_tiny(path, sites=2)

    monkeypatch.setattr(Federations, "_prepare", prepare)
    federations = Federations(study, folder, sources or {}, messages.append)
    runner = StudyRunner(StudyGrid(study, folder, federations), run, messages.append)
    runner.messages = messages
    return runner
