"""A study carried out: the runs that its cells need, one after the other, each cell once.

All methods of a scenario and seed are one run, so that they have the same windows and share phase 1. The
first seed is run once with each learning rate; each method then has the rate of its lowest validation score,
for that seed and for all others. Which rate that is depends on nothing that the test holes change, and a
scenario that differs in these alone is scored with what was trained before.
"""

from __future__ import annotations

import os
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

from condi_core.run_files import CONFIG_FILE, RESULT_FILE, ROSTER_FILE
from server_app.errors import RunError
from server_app.operations.run_config import SettingValue
from server_app.settings import validate_settings
from server_app.study.design import Scenario, Study
from server_app.study.federations import Federations, federation_name, steps_of_epochs
from server_app.study.results import (
    Row,
    best_rate,
    cell_key,
    completed_cells,
    read_cell,
    run_name,
    run_seconds,
    validation_score,
)
from server_app.study.reuse import reuse_training

ENGINE_SECONDS = 20.0  # seconds in which the engine of a run starts and ends
SECONDS_PER_STEP = (
    0.12  # seconds of a site's step with the default model, a rough guess where no run has been
)
REFUSED = "start a new run"  # in the message of a run that can never be gone on with
Runner = Callable[[dict[str, SettingValue]], None]


class RunNotCompletedError(Exception):
    """A run has failed; the message says why."""


@dataclass
class Progress:
    """Which runs train, in their order (the others are only scored), and what those behind us took."""

    trains: list[bool]
    done: int = 0
    seconds: dict[bool, list[float]] = field(default_factory=lambda: {True: [], False: []})

    @property
    def left(self) -> str:
        ahead = Counter(self.trains[self.done :])
        if ahead[True] and not self.seconds[True]:
            return "time left is not known yet"
        one = {
            trains: sum(took) / len(took) if took else ENGINE_SECONDS for trains, took in self.seconds.items()
        }
        seconds = sum(runs * one[trains] for trains, runs in ahead.items())
        return f"about {seconds:.0f} s left" if seconds < 90 else f"about {seconds / 60:.0f} min left"


class StudyRunner:
    """Runs what is lacking. `run(settings)` does one run, and raises RunNotCompleted when that fails."""

    def __init__(
        self, study: Study, folder: Path, federations: Federations, run: Runner, say: Callable[[str], None]
    ) -> None:
        self.study, self.folder, self.federations, self.run, self.say = study, folder, federations, run, say
        self.runs = folder / "runs"
        self.failed: dict[str, str] = {}  # run → why
        self.progress = Progress(
            [self._trains(s) for s in study.scenarios for n in study.seeds for _ in self._attempts(s, n)]
        )

    def __call__(self) -> list[Row]:
        """Do all that is not done; a row for each cell that there is then."""
        self.federations.check()
        self.runs.mkdir(parents=True, exist_ok=True)
        self.cells = completed_cells(self.runs)
        for scenario in self.study.scenarios:
            for seed in self.study.seeds:
                self._settle(scenario, seed)
        return self.rows()

    def rows(self) -> list[Row]:
        """The cells that there are, of the rates that were chosen."""
        self.cells, rows = completed_cells(self.runs), []
        for scenario in self.study.scenarios:
            rates = self._chosen(scenario)
            for seed in self.study.seeds:
                for method, rate in rates.items() if self._known(scenario, seed) else ():
                    if run := self.cells.get(self._cell(scenario, seed, method, rate)):
                        rows.append(read_cell(scenario, run, method))
        return rows

    def trials(self) -> list[Row]:
        """What each learning rate reached on validation windows of the first seed, and which was chosen."""
        found, seed = [], self.study.seeds[0]
        for scenario in self.study.scenarios:
            if not self._trains(scenario) or len(self.study.rates) == 1:
                continue
            for method, chosen in self._chosen(scenario).items():
                for rate in self.study.rates:
                    run = self.cells[self._cell(scenario, seed, method, rate)]
                    row: Row = {"data": scenario.data, "partition": scenario.partition.label}
                    row |= {
                        "missingness": scenario.missingness_label,
                        "method": method,
                        "learning-rate": rate,
                    }
                    row |= {"validation": validation_score(run, method), "chosen": int(rate == chosen)}
                    found.append(row | {"run": run.name})
        return found

    def plan(self) -> Iterator[tuple[str, bool, bool]]:
        """Each run of the study in a line, whether its cells are there already, and whether it trains.

        Starts nothing.
        """
        self.cells = completed_cells(self.runs)
        for scenario in self.study.scenarios:
            chosen = self._chosen(scenario)
            for seed in self.study.seeds:
                for rates in self._attempts(scenario, seed):
                    one = rates or (chosen if len(self.study.rates) == 1 else {})
                    told = f"learning rate {min(one.values()):g}" if one else "the rates chosen"
                    rates = chosen if rates is None else rates
                    there = len(rates) == len(self.study.methods) and self._known(scenario, seed) and all(
                        self._cell(scenario, seed, m, r) in self.cells for m, r in rates.items()
                    )  # fmt: skip
                    told = f"{scenario.label}; seed {seed}; {told}; {', '.join(self.study.methods)}"
                    yield told, there, self._trains(scenario)

    def estimate(self, training: int, scoring: int = 0) -> tuple[float, str]:
        """Seconds that runs take which train, and which are only scored, and what the guess is of."""
        starts = ENGINE_SECONDS * (training + scoring)
        if done := run_seconds({*completed_cells(self.runs).values()}):
            return starts + training * sum(done) / len(done), "from the runs there are"
        config = validate_settings(self.study.run_settings(self.study.scenarios[0], 0))
        sites = self.study.scenarios[0].partition.sites or 4
        steps = config.imputer.rounds * config.imputer.steps
        steps += len(self.study.methods) * config.task.rounds * config.task.steps
        asked = max(1, round(sites * config.sites_per_round))
        return (
            starts + training * steps * asked * SECONDS_PER_STEP,
            "a rough guess from the size of the default model",
        )

    def _settle(self, scenario: Scenario, seed: int) -> None:
        for rates in self._attempts(scenario, seed):
            rates = self._chosen(scenario) if rates is None else rates
            settings = self._settings(scenario, seed)
            lacking = {m: r for m, r in rates.items() if self._cell(scenario, seed, m, r) not in self.cells}
            for trained, part in self._by_training(scenario, seed, lacking).items():
                self._do(scenario, seed, settings, part, trained)
            self.progress.done += 1

    def _trains(self, scenario: Scenario) -> bool:
        """Whether it is the first of those that differ in nothing but test missingness."""
        return scenario.test_missingness == self.study.test_missingness[0]

    def _by_training(
        self, scenario: Scenario, seed: int, rates: dict[str, float]
    ) -> dict[Path | None, dict[str, float]]:
        """Methods with their rates by the run that has trained them for other test holes; None: no run."""
        found: dict[Path | None, dict[str, float]] = {}
        others = [
            replace(scenario, test_missingness=missingness) for missingness in self.study.test_missingness
        ]
        for method, rate in rates.items():
            runs = (self.cells.get(self._cell(other, seed, method, rate)) for other in others)
            found.setdefault(next(filter(None, runs), None), {})[method] = rate
        return found

    def _attempts(self, scenario: Scenario, seed: int) -> list[dict[str, float] | None]:
        """Rates by method of the runs of a scenario and seed; None: those chosen by then."""
        if seed == self.study.seeds[0] and self._trains(scenario):
            return [dict.fromkeys(self.study.methods, rate) for rate in self.study.rates]
        return [None]

    def _chosen(self, scenario: Scenario) -> dict[str, float]:
        """The rate of each method, of those that have been tried with all of them."""
        tried = Scenario(
            scenario.data, scenario.partition, scenario.missingness, self.study.test_missingness[0]
        )
        chosen, seed = {}, self.study.seeds[0]
        for method in self.study.methods:
            if len(self.study.rates) == 1:
                chosen[method] = self.study.rates[0]
            elif self._known(tried, seed):
                runs = {r: self.cells.get(self._cell(tried, seed, method, r)) for r in self.study.rates}
                if all(runs.values()):
                    chosen[method] = best_rate({r: validation_score(p, method) for r, p in runs.items()})
        return chosen

    def _do(
        self, scenario: Scenario, seed: int, settings: dict, rates: dict[str, float], trained: Path | None
    ) -> None:
        """One run with the methods of `rates`: gone on with, scored with what is `trained`, or started."""
        federation = federation_name(self.study, scenario, seed)
        name, (first, *others) = run_name(federation, settings, list(rates), rates), list(rates)
        path = self.runs / name
        settings = settings | {
            "federation": str(self.federations.path(scenario, seed)),
            "output": str(self.runs),
            "name": name,
            "method": first,
            "compare-with": ",".join(others),
            "task.learning-rate-by-method": " ".join(f"{m}={r!r}" for m, r in rates.items()),
        }
        told = f"{scenario.label}, seed {seed}: " + ", ".join(f"{m} ({r:g})" for m, r in rates.items())
        n, progress = len(self.study.methods), self.progress
        cells = f"cells {progress.done * n + 1} to {(progress.done + 1) * n} of {len(progress.trains) * n}"
        self.say(f"{cells}, {progress.left}: {told}")
        started = time.monotonic()
        try:
            self._start(path, settings, trained)
        except (RunNotCompletedError, RunError) as error:
            self.failed[name] = str(error)
            self.say(f"  failed: {error}")
            return
        progress.seconds[trained is None].append(time.monotonic() - started)
        if not (path / RESULT_FILE).exists():
            self.failed[name] = f"it left no {RESULT_FILE}"
            return
        self.cells = completed_cells(self.runs)

    def _start(self, path: Path, settings: dict[str, SettingValue], trained: Path | None) -> None:
        """Go on with the run in `path`, or with what is `trained`; or, where neither can be, start it."""
        begun = (path / CONFIG_FILE).exists() and (path / ROSTER_FILE).exists()
        if begun:
            self.say("  it was begun before and goes on")
        else:
            _set_aside(path)
            if trained and (begun := reuse_training(trained, settings)):
                self.say("  it is trained already and only scored")
        if begun:
            try:
                return self.run(settings | {"resume": str(path)})
            except RunNotCompletedError as error:
                if REFUSED not in str(error):
                    raise
                self.say(f"  it cannot: {error}")
                _set_aside(path)
        self.run(settings)

    def _settings(self, scenario: Scenario, seed: int) -> dict[str, SettingValue]:
        """All settings of a run but for places, methods and rates; prepares the federation for it."""
        settings = self.study.run_settings(scenario, seed)
        federation = self.federations.open(scenario, seed)
        if epochs := self.study.local_epochs:
            for phase in ("imputer", "task"):
                steps = steps_of_epochs(epochs, federation, settings[f"{phase}.batch"])
                settings[f"{phase}.steps"] = steps
        return settings

    def _cell(self, scenario: Scenario, seed: int, method: str, rate: float) -> str:
        """Identity of a cell, with every setting as the run will write it down."""
        federation = federation_name(self.study, scenario, seed)
        settings = validate_settings(self._settings(scenario, seed)).flat()
        return cell_key(settings, federation, method, rate)

    def _known(self, scenario: Scenario, seed: int) -> bool:
        """Whether the settings are known without anything being prepared."""
        return self.federations.path(scenario, seed).exists()


def _set_aside(path: Path) -> None:
    """Give the name of a folder free without losing what is in it."""
    number = 1
    while path.exists():
        aside = path.with_name(f"{path.name}.set-aside-{number}")
        if not aside.exists():
            os.replace(path, aside)
        number += 1
