"""The grid of a study's cells: which exist, which runs are left, and with which learning rates.

All methods of a scenario and seed are one run, so that they have the same windows and share phase 1. The
first seed is run once with each learning rate; each method then has the rate with its lowest validation loss,
for that seed and for all others. That choice depends on nothing that the missingness of test windows changes:
a scenario that differs only in these is scored with models that were trained before.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

from server_app.operations.run_config import SettingValue
from server_app.settings import validate_settings
from server_app.study.cell_index import cell_key, completed_cells
from server_app.study.design import Scenario, Study
from server_app.study.federations import Federations, federation_name, steps_of_epochs, training_windows
from server_app.study.results import CsvValue, StudyCell, best_rate, read_cell, validation_loss

Settings = dict[str, SettingValue]
Rates = dict[str, float]  # learning rate of each method


class PlannedRun(NamedTuple):
    """A run of a study.

    Attributes
    ----------
    scenario, seed : what it computes
    label : the same in words, with the learning rates
    is_done : whether its cells exist
    trains : whether it trains, or only scores what others have trained
    folders : folders of the runs that have computed it
    """

    scenario: Scenario
    seed: int
    label: str
    is_done: bool
    trains: bool
    folders: frozenset[Path] = frozenset()


class StudyGrid:
    """The cells of a study in its folder.

    Parameters
    ----------
    study : the study
    folder : its folder
    federations : its federations

    Attributes
    ----------
    runs : folder of the runs
    completed : the run folder of each computed cell, by its key; see `refresh`
    """

    def __init__(self, study: Study, folder: Path, federations: Federations) -> None:
        self.study = study
        self.federations = federations
        self.runs = folder / "runs"
        self.completed: dict[str, Path] = {}

    def refresh(self) -> None:
        """Read again which cells have been computed."""
        self.completed = completed_cells(self.runs)

    def cells(self) -> list[StudyCell]:
        """Return the cells that exist, with the learning rates that were chosen."""
        self.refresh()
        cells = []
        for scenario in self.study.scenarios:
            rates = self.chosen_rates(scenario)
            for seed in self.study.seeds:
                for method, rate in rates.items() if self.is_prepared(scenario, seed) else ():
                    if run := self.completed.get(self.key(scenario, seed, method, rate)):
                        cells.append(read_cell(scenario, run, method))
        return cells

    def trials(self) -> list[dict[str, CsvValue]]:
        """Return a row for each learning rate that was tried, and whether it was chosen."""
        rows, seed = [], self.study.seeds[0]
        for scenario in self.study.scenarios:
            if not self.trains(scenario) or len(self.study.rates) == 1:
                continue
            for method, chosen in self.chosen_rates(scenario).items():
                for rate in self.study.rates:
                    run = self.completed[self.key(scenario, seed, method, rate)]
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
        self.refresh()
        for scenario in self.study.scenarios:
            chosen = self.chosen_rates(scenario)
            for seed in self.study.seeds:
                prepared = self.is_prepared(scenario, seed)
                for attempt in self.attempts(scenario, seed):
                    known = attempt or (chosen if len(self.study.rates) == 1 else {})
                    rate = f"learning rate {min(known.values()):g}" if known else "the chosen learning rates"
                    rates = chosen if attempt is None else attempt
                    keys = [self.key(scenario, seed, m, r) for m, r in rates.items()] if prepared else []
                    folders = [self.completed.get(key) for key in keys]
                    is_done = len(folders) == len(self.study.methods) and all(folders)
                    computed = frozenset(folder for folder in folders if folder)
                    label = f"{scenario.label}; seed {seed}; {rate}; {', '.join(self.study.methods)}"
                    yield PlannedRun(scenario, seed, label, is_done, self.trains(scenario), computed)

    def trains(self, scenario: Scenario) -> bool:
        """Return whether it is the first of the scenarios that differ only in their test windows."""
        return scenario.test_missingness == self.study.test_missingness[0]

    def attempts(self, scenario: Scenario, seed: int) -> list[Rates | None]:
        """Return the rates by method of each run of a scenario and seed; None for the chosen ones."""
        if seed == self.study.seeds[0] and self.trains(scenario):
            return [dict.fromkeys(self.study.methods, rate) for rate in self.study.rates]
        return [None]

    def chosen_rates(self, scenario: Scenario) -> Rates:
        """Return the rate of each method for which all rates have been tried."""
        tried = replace(scenario, test_missingness=self.study.test_missingness[0])
        chosen, seed = {}, self.study.seeds[0]
        for method in self.study.methods:
            if len(self.study.rates) == 1:
                chosen[method] = self.study.rates[0]
            elif self.is_prepared(tried, seed):
                keys = {rate: self.key(tried, seed, method, rate) for rate in self.study.rates}
                if all(key in self.completed for key in keys.values()):
                    losses = {r: validation_loss(self.completed[k], method) for r, k in keys.items()}
                    chosen[method] = best_rate(losses)
        return chosen

    def settings(self, scenario: Scenario, seed: int) -> Settings:
        """Return all settings of a run but for folders, methods and rates; prepare its federation."""
        settings = self.study.run_settings(scenario, seed)
        federation = self.federations.open(scenario, seed)
        if epochs := self.study.local_epochs:
            for phase in ("imputer", "task"):
                batch = int(settings[f"{phase}.batch"])
                steps = steps_of_epochs(epochs, training_windows(federation), batch)
                settings[f"{phase}.steps"] = steps
        return settings

    def key(self, scenario: Scenario, seed: int, method: str, rate: float) -> str:
        """Return the key of a cell, with every setting as the run will write it to config.json."""
        federation = federation_name(self.study, scenario, seed)
        settings = validate_settings(self.settings(scenario, seed)).flat()
        return cell_key(settings, federation, method, rate)

    def is_prepared(self, scenario: Scenario, seed: int) -> bool:
        """Return whether the federation exists, so that the settings are known without preparing it."""
        return self.federations.path(scenario, seed).exists()
