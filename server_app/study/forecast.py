"""Forecast how long the runs of a study take, before any has run."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from condi_core.config import RunConfig
from condi_core.run_files import RESULT_FILE, VERSIONS_FILE, read_history
from condi_core.windows import Schema
from server_app.settings import validate_settings
from server_app.study.data_sizes import DataSizes, measure_data
from server_app.study.federations import steps_of_epochs
from server_app.study.grid import PlannedRun, StudyGrid
from server_app.study.timing import time_in_parallel
from server_app.study.variants import method_of_variant
from server_app.study.workload import OperationSeconds, Workload

# (schema, settings, methods, some windows, workers, threads) → seconds
TimeOperations = Callable[[Schema, RunConfig, Sequence[str], Any, int, int], OperationSeconds]


class Forecast:
    """Estimates the duration of runs from operations that are timed once for each data set.

    Runs that have finished correct the estimates by the ratio of their durations.

    Parameters
    ----------
    grid : the cells of the study
    workers : number of sites that compute at the same time
    threads : number of threads of each
    time_operations : times the operations of a run
    """

    def __init__(
        self,
        grid: StudyGrid,
        workers: int,
        threads: int = 1,
        time_operations: TimeOperations = time_in_parallel,
    ) -> None:
        self.grid = grid
        self.workers = workers
        self.threads = threads
        self.time_operations = time_operations
        self.num_finished = 0
        self._ratio = 1.0
        self._sizes: dict[tuple, DataSizes] = {}
        self._operations: dict[str, OperationSeconds] = {}

    def seconds(self, run: PlannedRun) -> float:
        """Estimate the duration of a run; StudyError when its data cannot be read."""
        return self._ratio * self._uncorrected_seconds(run)

    def correct(self, plan: Sequence[PlannedRun]) -> None:
        """Correct the estimates by the runs of the plan that have finished."""
        actual = expected = 0.0
        for run in plan:
            if run.is_done and run.trains:
                self.num_finished += 1
                actual += sum(map(finished_seconds, run.folders))
                expected += self._uncorrected_seconds(run)
        if actual and expected:
            self._ratio = actual / expected

    @property
    def basis(self) -> str:
        """What the estimates are based on."""
        timed = "from operations timed on this machine"
        return f"{timed}, and {self.num_finished} finished runs" if self.num_finished else timed

    def _uncorrected_seconds(self, run: PlannedRun) -> float:
        study, scenario = self.grid.study, run.scenario
        key = (scenario.data, scenario.partition, run.seed if scenario.partition.sites else 0)
        if key not in self._sizes:
            self._sizes[key] = measure_data(self.grid.federations, scenario, run.seed)
        schema, sites, sample = self._sizes[key]
        settings = study.run_settings(scenario, run.seed)
        if epochs := study.local_epochs:
            for phase in ("imputer", "task"):
                batch = int(settings[f"{phase}.batch"])
                settings[f"{phase}.steps"] = steps_of_epochs(epochs, [s.train for s in sites], batch)
        config = validate_settings(settings)
        workers, methods = min(self.workers, len(sites)), [method_of_variant(m) for m in study.methods]
        if scenario.data not in self._operations:
            self._operations[scenario.data] = self.time_operations(
                schema, config, methods, sample, workers, self.threads
            )
        workload = Workload(config, methods, sites, workers, self._operations[scenario.data])
        return workload.seconds(run.trains)


def finished_seconds(run: Path) -> float:
    """Return how long a finished run took, at least its rounds.

    Every start writes the versions again, so that the pause before a resumption does not count. Copied files
    have no times of their own, and rounds before a resumption are in the history alone.
    """
    since_start = (run / RESULT_FILE).stat().st_mtime - (run / VERSIONS_FILE).stat().st_mtime
    return max(since_start, sum(line["seconds"] for line in read_history(run)))
