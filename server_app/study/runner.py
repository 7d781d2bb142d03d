"""Run a study: the runs that its cells need, one after the other, each cell once."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path

from condi_core.run_files import CONFIG_FILE, RESULT_FILE, ROSTER_FILE
from server_app.errors import NEW_RUN_HINT, RunError
from server_app.study.cell_index import run_name
from server_app.study.design import Scenario
from server_app.study.federations import federation_name
from server_app.study.grid import Rates, Settings, StudyGrid
from server_app.study.progress import StudyProgress
from server_app.study.results import StudyCell
from server_app.study.reuse import reuse_training
from server_app.study.variants import method_of_variant, options_setting, share_runs


class RunNotCompletedError(Exception):
    """A run has failed; the message says why."""


class StudyRunner:
    """Computes the cells of a study that are missing.

    Parameters
    ----------
    grid : the cells of the study
    start_run : called with the settings of each run; raises RunNotCompletedError when the run fails
    report_progress : called with a line before each run
    progress : which runs are done and how long they took; by default without an estimate beforehand

    Attributes
    ----------
    failed : the reason for each run that failed, by its name
    """

    def __init__(
        self,
        grid: StudyGrid,
        start_run: Callable[[Settings], None],
        report_progress: Callable[[str], None],
        progress: StudyProgress | None = None,
    ) -> None:
        self.grid = grid
        self.start_run = start_run
        self.report_progress = report_progress
        self.failed: dict[str, str] = {}
        self.progress = progress or StudyProgress.of_plan(list(grid.plan()))

    def run_missing_cells(self) -> list[StudyCell]:
        """Compute all cells that do not exist, and return all that exist then."""
        self.grid.federations.require_sources()
        self.grid.runs.mkdir(parents=True, exist_ok=True)
        self.grid.refresh()
        for scenario in self.grid.study.scenarios:
            for seed in self.grid.study.seeds:
                self._run_cells(scenario, seed)
        return self.grid.cells()

    def _run_cells(self, scenario: Scenario, seed: int) -> None:
        """Compute the missing cells of a scenario and seed."""
        for attempt in self.grid.attempts(scenario, seed):
            rates = self.grid.chosen_rates(scenario) if attempt is None else attempt
            settings = self.grid.settings(scenario, seed)
            missing = {
                m: r
                for m, r in rates.items()
                if self.grid.key(scenario, seed, m, r) not in self.grid.completed
            }
            num_failed = len(self.failed)
            for trained, group in self._group_by_training(scenario, seed, missing).items():
                for part in share_runs(group):
                    self._run_once(scenario, seed, settings, part, trained)
            self.progress.end_run(completed=len(self.failed) == num_failed)

    def _group_by_training(self, scenario: Scenario, seed: int, rates: Rates) -> dict[Path | None, Rates]:
        """Group methods by the run that has trained them for other test windows; None where there is none."""
        groups: dict[Path | None, Rates] = {}
        others = [replace(scenario, test_missingness=test) for test in self.grid.study.test_missingness]
        for method, rate in rates.items():
            runs = (self.grid.completed.get(self.grid.key(other, seed, method, rate)) for other in others)
            groups.setdefault(next(filter(None, runs), None), {})[method] = rate
        return groups

    def _run_once(
        self, scenario: Scenario, seed: int, settings: Settings, rates: Rates, trained: Path | None
    ) -> None:
        """Do one run with the methods of `rates`; `trained` is the run that has trained them, if any."""
        federation = federation_name(self.grid.study, scenario, seed)
        name = run_name(federation, settings, list(rates), rates)
        path = self.grid.runs / name
        first, *others = map(method_of_variant, rates)
        settings = settings | {
            "federation": str(self.grid.federations.path(scenario, seed)),
            "output": str(self.grid.runs),
            "name": name,
            "method": first,
            "compare-with": ",".join(others),
            "method-options": options_setting(rates),
            "task.learning-rate-by-method": " ".join(
                f"{method_of_variant(m)}={r!r}" for m, r in rates.items()
            ),
        }
        self.progress.start_run(f"{scenario.label}, seed {seed}")
        self.report_progress(self._progress_line(scenario, seed, rates))
        try:
            self._resume_or_start(path, settings, trained)
        except (RunNotCompletedError, RunError) as error:
            self.failed[name] = str(error)
            self.report_progress(f"  failed: {error}")
            return
        if not (path / RESULT_FILE).exists():
            self.failed[name] = f"the run wrote no {RESULT_FILE}"
            return
        self.grid.refresh()

    def _progress_line(self, scenario: Scenario, seed: int, rates: Mapping[str, float]) -> str:
        methods = ", ".join(f"{m} ({r:g})" for m, r in rates.items())
        n, progress = len(self.grid.study.methods), self.progress
        last = (progress.num_done + 1) * n
        cells = f"cells {progress.num_done * n + 1} to {last} of {len(progress.expected) * n}"
        return f"{cells}, {progress.time_left}: {scenario.label}, seed {seed}: {methods}"

    def _resume_or_start(self, path: Path, settings: Settings, trained: Path | None) -> None:
        """Resume the run in `path`, or start from what `trained` has trained, or else start a new run."""
        resumable = (path / CONFIG_FILE).exists() and (path / ROSTER_FILE).exists()
        if resumable:
            self.report_progress("  the run was interrupted before and is resumed")
        else:
            _set_aside(path)
            if trained and (resumable := reuse_training(trained, settings)):
                self.report_progress("  the methods are trained already and are only scored")
        if resumable:
            try:
                return self.start_run(settings | {"resume": str(path)})
            except RunNotCompletedError as error:
                if NEW_RUN_HINT not in str(error):
                    raise
                self.report_progress(f"  the run cannot be resumed: {error}")
                _set_aside(path)
        self.start_run(settings)


def _set_aside(path: Path) -> None:
    """Rename a folder to make its name available, and keep what is in it."""
    number = 1
    while path.exists():
        aside = path.with_name(f"{path.name}.set-aside-{number}")
        if not aside.exists():
            os.replace(path, aside)
        number += 1
