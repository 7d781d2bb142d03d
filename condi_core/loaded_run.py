"""A run directory as one object in Python: settings, history, results, models, test windows and pictures."""

from __future__ import annotations

import base64
import html
import re
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from condi_core.completed_window import CompletedWindow, SiteStore, complete_rows
from condi_core.config import RunConfig
from condi_core.evaluation.catalogue import EVALUATED_MISSINGNESS, TASK_METRICS
from condi_core.loading import load_model
from condi_core.model import TrainedRun
from condi_core.run_files import (
    REPORT_FILE,
    RunFileMissingError,
    read_config,
    read_history,
    read_result,
    read_roster,
)
from condi_core.weights_file import WeightsFileError

_FIGURE = re.compile(r"<figure[^>]*><figcaption>(.*?)</figcaption>.*?<svg([^>]*)>(.*?)</svg>", re.DOTALL)
_STYLE = re.compile(r"<style[^>]*>(.*?)</style>", re.DOTALL)


class Picture(NamedTuple):
    """A figure of a report, which notebooks show.

    Attributes
    ----------
    title : its caption
    svg : a file's content
    """

    title: str
    svg: str

    def __repr__(self) -> str:
        return f"<Picture {self.title}>"

    def _repr_html_(self) -> str:
        # As an image, its style does not change the notebook.
        content = base64.b64encode(self.svg.encode()).decode()
        title = html.escape(self.title)
        return f'<figure><img alt="{title}" src="data:image/svg+xml;base64,{content}"></figure>'


class LoadedRun:
    """What a run directory holds, finished or not. `load_run` makes one.

    Attributes
    ----------
    path : the run directory
    settings : of the run
    """

    def __init__(self, path: Path, settings: RunConfig) -> None:
        self.path = path
        self.settings = settings

    def __repr__(self) -> str:
        state = "finished" if self.is_finished else "not finished"
        rounds = f"{len(self.history)} rounds"
        parts = [self.settings.method, f"{len(self.sites)} sites", rounds, state]
        for metric in [name for name in TASK_METRICS if name in self.task.columns][:1]:
            label = TASK_METRICS[metric].label
            parts += [f"{label} of {method} {value:.3f}" for method, value in self.task[metric].items()]
        return f"<LoadedRun {self.path.resolve().name}: {', '.join(parts)}>"

    @property
    def is_finished(self) -> bool:
        """Whether the closing tables have been written."""
        return bool(self._result)

    @cached_property
    def history(self) -> pd.DataFrame:
        """Rounds in order, a row each: phase, round, loss, metrics such as `metrics.rmse`, bytes, seconds."""
        lines = _read(lambda: read_history(self.path)) or []
        return pd.json_normalize([{k: v for k, v in line.items() if k != "failures"} for line in lines])

    @cached_property
    def sites(self) -> pd.DataFrame:
        """Sites by name, with their windows for training, validation and test."""
        roster = _read(lambda: read_roster(self.path)) or {}
        rows = {name: site["manifest"]["windows"] for name, site in roster.items()}
        return pd.DataFrame.from_dict(rows, orient="index").rename_axis("site")

    @cached_property
    def imputation(self) -> pd.DataFrame:
        """Test scores of imputers, by missingness pattern and method, in standard deviations."""
        rows = {
            (pattern, method): _numbers(metrics)
            for pattern, methods in self._result.get("imputation", {}).items()
            for method, metrics in methods.items()
        }
        index = pd.MultiIndex.from_tuples(rows, names=["missingness", "method"]) if rows else None
        return pd.DataFrame(list(rows.values()), index)

    @cached_property
    def task(self) -> pd.DataFrame:
        """Test scores of the task, by method."""
        rows = {method: _numbers(metrics) for method, metrics in self._result.get("task", {}).items()}
        return pd.DataFrame.from_dict(rows, orient="index").rename_axis("method")

    @cached_property
    def models(self) -> TrainedRun:
        """The trained models; WeightsFileError when the run has none."""
        return load_model(self.path)

    @cached_property
    def pictures(self) -> dict[str, Picture]:
        """Figures of the report by caption; empty before there is a report."""
        file = self.path / REPORT_FILE
        page = file.read_text(encoding="utf-8") if file.exists() else ""
        style = "".join(_STYLE.findall(page))
        pictures = {}
        for caption, attributes, content in _FIGURE.findall(page):
            title = html.unescape(re.sub(r"<[^>]*>", "", caption))
            start = f'<svg xmlns="http://www.w3.org/2000/svg"{attributes}>'
            pictures[title] = Picture(title, f"{start}<style>{style}</style>{content}</svg>")
        return pictures

    def test_windows(
        self, site: SiteStore, missingness: str = "gaps 50 %", count: int = 8
    ) -> list[CompletedWindow]:
        """Complete test windows of a site on this machine, with what the evaluation hides of them.

        Parameters
        ----------
        site : opened by `Partition.open(folder)` of `data_partitions.partition`
        missingness : one of the patterns of `imputation`
        count : number of windows, spread evenly over those of the site

        Raises
        ------
        ValueError
            The site did not take part in the run, or there is no such pattern.
        WeightsFileError
            The run has no trained imputer.
        """
        name = site.manifest.site
        if name not in self.sites.index:
            raise ValueError(f"expected one of the sites {', '.join(self.sites.index)}, got {name}")
        if missingness not in EVALUATED_MISSINGNESS:
            known = ", ".join(f"'{pattern}'" for pattern in EVALUATED_MISSINGNESS)
            raise ValueError(f"expected missingness to be one of {known}, got '{missingness}'")
        imputer, rows = self.models.imputer, site.rows("test")
        if imputer is None:
            raise WeightsFileError(f"the run in {self.path} has no trained imputer: choose one of condi")
        rows = rows[np.linspace(0, len(rows) - 1, min(count, len(rows))).round().astype(int)]
        schema = self.models.schema
        windows = (
            complete_rows(self.settings, imputer, schema, site, rows[i : i + 1], missingness)
            for i in range(len(rows))
        )
        return [window for part in windows for window in part]

    @cached_property
    def _result(self) -> dict[str, Any]:
        return _read(lambda: read_result(self.path)) or {}


def load_run(path: str | Path) -> LoadedRun:
    """Open a run directory, finished or not.

    Parameters
    ----------
    path : such as "runs/demo"

    Raises
    ------
    RunFileError
        There is no run, or a file of it is damaged.
    """
    return LoadedRun(Path(path), read_config(Path(path)))


def _read(read: Any) -> Any:
    """Return what is read, or None when the run has no such file yet."""
    try:
        return read()
    except RunFileMissingError:
        return None


def _numbers(metrics: dict[str, Any]) -> dict[str, float]:
    return {name: value for name, value in metrics.items() if isinstance(value, int | float)}
