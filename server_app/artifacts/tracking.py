"""Write rounds, settings and test scores of a run to trackers of experiments: TensorBoard and MLflow."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from condi_core.config import RunConfig
from server_app.artifacts.mlflow_tracking import MlflowWriter
from server_app.artifacts.scores import final_scores
from server_app.artifacts.tensorboard import TensorBoardWriter

# They say where files are and how a run is operated; a command may hold a password.
UNTRACKED_SETTINGS = frozenset({"federation", "output", "name", "resume", "queue", "on-end", "track"})


class Tracking:
    """The trackers of a run: TensorBoard where it is installed, and MLflow where the settings say so.

    Numbers of rounds and test scores are written, and no record of a patient.

    Parameters
    ----------
    config : RunConfig
    run : Path
        The run directory.
    """

    def __init__(self, config: RunConfig, run: Path) -> None:
        self._settings = {k: v for k, v in config.flat().items() if k not in UNTRACKED_SETTINGS}
        self._method = config.method
        self._tensorboard = TensorBoardWriter(run)
        self._mlflow: MlflowWriter | None = None
        if config.track == "mlflow":
            self._mlflow = MlflowWriter(run, self._settings, bool(config.resume))

    def write(self, history: list[dict]) -> None:
        """Write the rounds that have not been written and are complete."""
        self._tensorboard.write(history)
        if self._mlflow:
            self._mlflow.write(history)

    def complete(self, history: list[dict], result: dict[str, Any]) -> None:
        """Write what is left of a completed run, with its test scores, and its report and model card."""
        scores = final_scores(result, self._method)
        self._tensorboard.close(history, self._settings, scores)
        if self._mlflow:
            self._mlflow.close(history, scores, completed=True)

    def fail(self, history: list[dict]) -> None:
        """Say that the run has failed; it may be resumed."""
        if self._mlflow:
            self._mlflow.close(history[:-1], {}, completed=False)
