"""Write a run to MLflow, where the setting `track` is "mlflow"; needs 'condi[mlflow]'."""

from __future__ import annotations

import logging
import os
import time
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from condi_core.run_files import MODEL_CARD_FILE, REPORT_FILE
from server_app.artifacts.tensorboard import scalars
from server_app.errors import RunError

URI_VARIABLE, EXPERIMENT_VARIABLE = "MLFLOW_TRACKING_URI", "MLFLOW_EXPERIMENT_NAME"
FOLDER_TAG = "condi.run-directory"  # by which a resumed run is recognised
# MLflow reports its use to its makers, and tries for minutes to reach a server that does not answer.
DEFAULT_ENVIRONMENT = {
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "2",
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "10",
}
MAX_ITEMS_PER_REQUEST = 100  # of parameters, as MLflow limits them
MAX_PARAMETER_CHARS = 500
PER_SITE = (
    "/site-seconds/"  # part of the names of metrics that name hospitals, which stay in the run directory
)


def require_tracker(track: str) -> None:
    """Raise RunError when the package of a tracker is not installed on this machine."""
    if track and find_spec(track) is None:
        raise RunError(
            f"track='{track}' needs MLflow where the coordinator runs: install it with pip install "
            "'condi[mlflow]', or set track to ''"
        )


class MlflowWriter:
    """Write settings, rounds, test scores, report and model card of a run to MLflow.

    The server or file is that of MLFLOW_TRACKING_URI, by default `mlflow.db` beside the run directory. A run
    that is resumed continues its run of MLflow, and each number of a round is written once. No error in this
    class ends a run.

    Parameters
    ----------
    run : Path
        The run directory.
    settings : dict
        Settings of the run, which become its parameters.
    resumed : bool
        Whether an earlier process may have begun the run.
    """

    def __init__(self, run: Path, settings: dict[str, Any], resumed: bool) -> None:
        self.run = run.absolute()
        self.uri = os.environ.get(URI_VARIABLE) or f"sqlite:///{self.run.parent / 'mlflow.db'}"
        self._settings, self._resumed = settings, resumed
        self._client: Any = None
        self._run_id = ""
        self._written: set[tuple[str, int]] = set()
        self._usable = True

    def write(self, history: list[dict]) -> None:
        """Add the numbers of all lines but the last, whose round has no scores before the next one ends."""
        self._attempt(self._add, history[:-1])

    def close(self, history: list[dict], scores: dict[str, float], completed: bool) -> None:
        """Add what has not been written yet, with test scores and documents, and end the run of MLflow."""
        self._attempt(self._add, history)
        self._attempt(self._end, scores, "FINISHED" if completed else "FAILED")

    def _attempt(self, write: Any, *content: Any) -> None:
        if not self._usable:
            return
        try:
            if self._client is None:
                self._open()
            write(*content)
        except Exception as error:
            self._usable = False
            reason = " ".join(str(error).split())[:200]
            print(f"note: nothing more is written to MLflow at {self.uri} ({reason})", flush=True)

    def _open(self) -> None:
        for name, value in DEFAULT_ENVIRONMENT.items():
            os.environ.setdefault(name, value)
        from mlflow import MlflowClient

        for logger in ("mlflow", "alembic"):  # a new file is announced in many lines
            logging.getLogger(logger).setLevel(logging.WARNING)
        self._client = MlflowClient(tracking_uri=self.uri)
        experiment = self._experiment()
        if self._resumed and (before := self._find_run(experiment)):
            self._run_id = before.info.run_id
            for key in before.data.metrics:
                steps = self._client.get_metric_history(self._run_id, key)
                self._written |= {(key, metric.step) for metric in steps}
            self._client.update_run(self._run_id, status="RUNNING")
            return
        tags = {FOLDER_TAG: str(self.run)}
        self._run_id = self._client.create_run(experiment, run_name=self.run.name, tags=tags).info.run_id
        self._log_settings()
        print(f"MLflow: run {self.run.name} of {self.uri}", flush=True)

    def _experiment(self) -> str:
        """Return the id of the experiment, which is made unless it is there."""
        name = os.environ.get(EXPERIMENT_VARIABLE) or "condi"
        if existing := self._client.get_experiment_by_name(name):
            return existing.experiment_id
        # Beside a local file MLflow would put documents into the folder in which the coordinator was started.
        is_default = not os.environ.get(URI_VARIABLE)
        location = (self.run.parent / "mlflow-artifacts").as_uri() if is_default else None
        return self._client.create_experiment(name, artifact_location=location)

    def _find_run(self, experiment: str) -> Any:
        folder = str(self.run).replace("'", "\\'")
        query = f"tags.`{FOLDER_TAG}` = '{folder}'"
        order = ["attributes.start_time DESC"]
        return next(iter(self._client.search_runs([experiment], query, max_results=1, order_by=order)), None)

    def _log_settings(self) -> None:
        from mlflow.entities import Param

        params = [Param(key, str(value)[:MAX_PARAMETER_CHARS]) for key, value in self._settings.items()]
        for start in range(0, len(params), MAX_ITEMS_PER_REQUEST):
            self._client.log_batch(self._run_id, params=params[start : start + MAX_ITEMS_PER_REQUEST])

    def _add(self, history: list[dict]) -> None:
        self._log_metrics(
            {
                (tag, line["round"]): value
                for line in history
                for tag, value in scalars(line).items()
                if PER_SITE not in tag
            }
        )

    def _log_metrics(self, values: dict[tuple[str, int], float]) -> None:
        """Write metrics by name and step, unless they have been written."""
        from mlflow.entities import Metric

        now = int(1000 * time.time())
        new = {key: value for key, value in values.items() if key not in self._written}
        metrics = [Metric(name, value, now, step) for (name, step), value in new.items()]
        for start in range(0, len(metrics), MAX_ITEMS_PER_REQUEST):
            self._client.log_batch(self._run_id, metrics=metrics[start : start + MAX_ITEMS_PER_REQUEST])
        self._written |= new.keys()

    def _end(self, scores: dict[str, float], status: str) -> None:
        self._log_metrics({(name, 0): value for name, value in scores.items()})
        for name in (REPORT_FILE, MODEL_CARD_FILE):
            if (self.run / name).exists():
                self._client.log_artifact(self._run_id, str(self.run / name))
        self._client.set_terminated(self._run_id, status)
