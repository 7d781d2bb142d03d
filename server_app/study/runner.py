"""Run a study: the runs that its cells need, one after the other, each cell once.

All methods of a scenario and seed are one run, so that they have the same windows and share phase 1. The
first seed is run once with each learning rate; each method then has the rate with its lowest validation loss,
for that seed and for all others. That choice depends on nothing that the missingness of test windows changes:
a scenario that differs only in these is scored with models that were trained before.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

from condi_core.run_files import CONFIG_FILE, RESULT_FILE, ROSTER_FILE
from server_app.errors import NEW_RUN_HINT, RunError
from server_app.operations.run_config import SettingValue
from server_app.settings import validate_settings
from server_app.study.cell_index import cell_key, completed_cells, run_name, run_seconds
from server_app.study.design import Scenario, Study
from server_app.study.federations import Federations, federation_name, steps_of_epochs
from server_app.study.progress import ENGINE_SECONDS, SECONDS_PER_STEP, StudyProgress
from server_app.study.results import CsvValue, StudyCell, best_rate, read_cell, validation_loss
from server_app.study.reuse import reuse_training

Settings = dict[str, SettingValue]
Rates = dict[str, float]  # learning rate of each method


class RunNotCompletedError(Exception):
    """A run has failed; the message says why."""


class PlannedRun(NamedTuple):
    """A run of a study, whether its cells exist already, and whether it trains or only scores."""

    label: str
    is_done: bool
    trains: bool


class StudyRunner:
    """Computes the cells of a study that are missing.

    Parameters
    ----------
    study : the study
    folder : its folder
    federations : its federations
    start_run : called with the settings of each run; raises RunNotCompletedError when the run fails
    report_progress : called with a line before each run

    Attributes
    ----------
    failed : the reason for each run that failed, by its name
    progress : which runs are done, and how long they took
    """

    def __init__(
        self,
        study: Study,
        folder: Path,
        federations: Federations,
        start_run: Callable[[Settings], None],
        report_progress: Callable[[str], None],
    ) -> None:
        self.study = study
        self.federations = federations
        self.start_run = start_run
        self.report_progress = report_progress
        self.runs = folder / "runs"
        self.failed: dict[str, str] = {}
        self.progress = StudyProgress(
            [self._trains(s) for s in study.scenarios for n in study.seeds for _ in self._attempts(s, n)]
        )
        self._completed: dict[str, Path] = {}  # the run folder of each computed cell, by its key

    def run_missing_cells(self) -> list[StudyCell]:
        """Compute all cells that do not exist, and return all that exist then."""
        self.federations.require_sources()
        self.runs.mkdir(parents=True, exist_ok=True)
        self._completed = completed_cells(self.runs)
        for scenario in self.study.scenarios:
            for seed in self.study.seeds:
                self._run_cells(scenario, seed)
        return self.cells()

    def cells(self) -> list[StudyCell]:
        """Return the cells that exist, with the learning rates that were chosen."""
        self._completed, cells = completed_cells(self.runs), []
        for scenario in self.study.scenarios:
            rates = self._chosen_rates(scenario)
            for seed in self.study.seeds:
                for method, rate in rates.items() if self._is_prepared(scenario, seed) else ():
                    if run := self._completed.get(self._key(scenario, seed, method, rate)):
                        cells.append(read_cell(scenario, run, method))
        return cells

    def trials(self) -> list[dict[str, CsvValue]]:
        """Return a row for each learning rate that was tried, and whether it was chosen."""
        rows, seed = [], self.study.seeds[0]
        for scenario in self.study.scenarios:
            if not self._trains(scenario) or len(self.study.rates) == 1:
                continue
            for method, chosen in self._chosen_rates(scenario).items():
                for rate in self.study.rates:
                    run = self._completed[self._key(scenario, seed, method, rate)]
                    row: dict[str, CsvValue] = {
                        "data": scenario.data,
                        "partition": scenario.partition.label,
                        "missingness": scenario.missingness_label,
                        "method": method,
                        "learning-rate": rate,
                        "validation-loss": validation_loss(run, method),
                        "chosen": int(rate == chosen),
                        "run": run.name,
                    }
                    rows.append(row)
        return rows

    def plan(self) -> Iterator[PlannedRun]:
        """Yield each run of the study without starting any."""
        self._completed = completed_cells(self.runs)
        for scenario in self.study.scenarios:
            chosen = self._chosen_rates(scenario)
            for seed in self.study.seeds:
                for attempt in self._attempts(scenario, seed):
                    known = attempt or (chosen if len(self.study.rates) == 1 else {})
                    rate = f"learning rate {min(known.values()):g}" if known else "the chosen learning rates"
                    rates = chosen if attempt is None else attempt
                    is_done = (
                        len(rates) == len(self.study.methods)
                        and self._is_prepared(scenario, seed)
                        and all(self._key(scenario, seed, m, r) in self._completed for m, r in rates.items())
                    )
                    label = f"{scenario.label}; seed {seed}; {rate}; {', '.join(self.study.methods)}"
                    yield PlannedRun(label, is_done, self._trains(scenario))

    def estimate_seconds(self, num_training: int, num_scoring: int = 0) -> tuple[float, str]:
        """Estimate how long runs take.

        Parameters
        ----------
        num_training : number of runs that train
        num_scoring : number of runs that only score what others have trained

        Returns
        -------
        Seconds, and what the estimate is based on.
        """
        engine_seconds = ENGINE_SECONDS * (num_training + num_scoring)
        if seconds := run_seconds({*completed_cells(self.runs).values()}):
            return engine_seconds + num_training * sum(seconds) / len(seconds), "from the finished runs"
        config = validate_settings(self.study.run_settings(self.study.scenarios[0], 0))
        num_sites = self.study.scenarios[0].partition.sites or 4
        steps = config.imputer.rounds * config.imputer.steps
        steps += len(self.study.methods) * config.task.rounds * config.task.steps
        sampled_sites = max(1, round(num_sites * config.sites_per_round))
        return (
            engine_seconds + num_training * steps * sampled_sites * SECONDS_PER_STEP,
            "a rough guess from the size of the default model",
        )

    def _run_cells(self, scenario: Scenario, seed: int) -> None:
        """Compute the missing cells of a scenario and seed."""
        for attempt in self._attempts(scenario, seed):
            rates = self._chosen_rates(scenario) if attempt is None else attempt
            settings = self._settings(scenario, seed)
            missing = {
                m: r for m, r in rates.items() if self._key(scenario, seed, m, r) not in self._completed
            }
            for trained, part in self._group_by_training(scenario, seed, missing).items():
                self._run_once(scenario, seed, settings, part, trained)
            self.progress.num_done += 1

    def _trains(self, scenario: Scenario) -> bool:
        """Return whether it is the first of the scenarios that differ only in their test windows."""
        return scenario.test_missingness == self.study.test_missingness[0]

    def _group_by_training(self, scenario: Scenario, seed: int, rates: Rates) -> dict[Path | None, Rates]:
        """Group methods by the run that has trained them for other test windows; None where there is none."""
        groups: dict[Path | None, Rates] = {}
        others = [replace(scenario, test_missingness=test) for test in self.study.test_missingness]
        for method, rate in rates.items():
            runs = (self._completed.get(self._key(other, seed, method, rate)) for other in others)
            groups.setdefault(next(filter(None, runs), None), {})[method] = rate
        return groups

    def _attempts(self, scenario: Scenario, seed: int) -> list[Rates | None]:
        """Return the rates by method of each run of a scenario and seed; None for the chosen ones."""
        if seed == self.study.seeds[0] and self._trains(scenario):
            return [dict.fromkeys(self.study.methods, rate) for rate in self.study.rates]
        return [None]

    def _chosen_rates(self, scenario: Scenario) -> Rates:
        """Return the rate of each method for which all rates have been tried."""
        tried = replace(scenario, test_missingness=self.study.test_missingness[0])
        chosen, seed = {}, self.study.seeds[0]
        for method in self.study.methods:
            if len(self.study.rates) == 1:
                chosen[method] = self.study.rates[0]
            elif self._is_prepared(tried, seed):
                keys = {rate: self._key(tried, seed, method, rate) for rate in self.study.rates}
                if all(key in self._completed for key in keys.values()):
                    losses = {r: validation_loss(self._completed[k], method) for r, k in keys.items()}
                    chosen[method] = best_rate(losses)
        return chosen

    def _run_once(
        self, scenario: Scenario, seed: int, settings: Settings, rates: Rates, trained: Path | None
    ) -> None:
        """Do one run with the methods of `rates`; `trained` is the run that has trained them, if any."""
        federation = federation_name(self.study, scenario, seed)
        name = run_name(federation, settings, list(rates), rates)
        path = self.runs / name
        first, *others = rates
        settings = settings | {
            "federation": str(self.federations.path(scenario, seed)),
            "output": str(self.runs),
            "name": name,
            "method": first,
            "compare-with": ",".join(others),
            "task.learning-rate-by-method": " ".join(f"{m}={r!r}" for m, r in rates.items()),
        }
        self.report_progress(self._progress_line(scenario, seed, rates))
        started = time.monotonic()
        try:
            self._resume_or_start(path, settings, trained)
        except (RunNotCompletedError, RunError) as error:
            self.failed[name] = str(error)
            self.report_progress(f"  failed: {error}")
            return
        self.progress.seconds[trained is None].append(time.monotonic() - started)
        if not (path / RESULT_FILE).exists():
            self.failed[name] = f"the run wrote no {RESULT_FILE}"
            return
        self._completed = completed_cells(self.runs)

    def _progress_line(self, scenario: Scenario, seed: int, rates: Mapping[str, float]) -> str:
        methods = ", ".join(f"{m} ({r:g})" for m, r in rates.items())
        n, progress = len(self.study.methods), self.progress
        last = (progress.num_done + 1) * n
        cells = f"cells {progress.num_done * n + 1} to {last} of {len(progress.trains) * n}"
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

    def _settings(self, scenario: Scenario, seed: int) -> Settings:
        """Return all settings of a run but for folders, methods and rates; prepare its federation."""
        settings = self.study.run_settings(scenario, seed)
        federation = self.federations.open(scenario, seed)
        if epochs := self.study.local_epochs:
            for phase in ("imputer", "task"):
                steps = steps_of_epochs(epochs, federation, int(settings[f"{phase}.batch"]))
                settings[f"{phase}.steps"] = steps
        return settings

    def _key(self, scenario: Scenario, seed: int, method: str, rate: float) -> str:
        """Return the key of a cell, with every setting as the run will write it to config.json."""
        federation = federation_name(self.study, scenario, seed)
        settings = validate_settings(self._settings(scenario, seed)).flat()
        return cell_key(settings, federation, method, rate)

    def _is_prepared(self, scenario: Scenario, seed: int) -> bool:
        """Return whether the federation exists, so that the settings are known without preparing it."""
        return self.federations.path(scenario, seed).exists()


def _set_aside(path: Path) -> None:
    """Rename a folder to make its name available, and keep what is in it."""
    number = 1
    while path.exists():
        aside = path.with_name(f"{path.name}.set-aside-{number}")
        if not aside.exists():
            os.replace(path, aside)
        number += 1
