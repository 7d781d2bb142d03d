"""Write the report of a run: one HTML file that loads nothing else."""

from __future__ import annotations

from pathlib import Path

from condi_core.evaluation.catalogue import imputer_label, missingness_label, primary_metric
from condi_core.run_files import REPORT_FILE
from data_partitions.storage import atomic_write
from server_app.artifacts.run_record import ReportError, RunRecord, read_run
from server_app.report.classification import classification
from server_app.report.completed_windows import Progress
from server_app.report.configuration import configuration
from server_app.report.imputation import imputation
from server_app.report.markup import Section, metric_cell, page
from server_app.report.participants import participants
from server_app.report.rounds import cost, training
from server_app.report.sites import by_site
from server_app.report.subgroups import by_subgroup
from server_app.report.windows import windows


def write_report(
    run: Path,
    data: list[Path] | None = None,
    out: Path | None = None,
    limit: float | None = None,
    progress: Progress = lambda completed, total: None,
) -> Path:
    """Write the report of a run, finished or not.

    Parameters
    ----------
    run : Path
        The run directory.
    data : list of Path, optional
        Partitions of sites of the run, whose windows are drawn. Without any, those of a simulation are drawn
        if its federation is still on this machine.
    out : Path, optional
        The file to write; by default `report.html` in the run directory.
    limit : float, optional
        Seconds that the completion of windows may take. With 0 and no `data`, no windows are drawn.
    progress : callable (completed, total)
        Called after each batch of windows.

    Returns
    -------
    Path
        The file that was written.

    Raises
    ------
    ReportError
        There is no such run, a file of it is damaged, a partition did not take part in it, or the report
        cannot be written.
    """
    record, path = read_run(run), out or run / REPORT_FILE
    if not path.parent.is_dir():
        raise ReportError(f"cannot write {path}: there is no such folder; choose another place with --out")
    content = run_page(record, windows(record, data or [], limit, progress))
    return write_page(path, content)


def write_page(path: Path, content: str) -> Path:
    """Write a page atomically; ReportError when that fails."""
    try:
        with atomic_write(path) as file:
            file.write(content.encode())
    except OSError as error:
        raise ReportError(f"cannot write {path}: {error.strerror}; choose another place with --out") from None
    return path


def run_page(run: RunRecord, completed_windows: Section) -> str:
    """Assemble the page of a run.

    Parameters
    ----------
    run : RunRecord
    completed_windows : Section
        The section that `windows` makes, for which records of patients are read.

    Returns
    -------
    str
        HTML.
    """
    sections = [
        participants(run),
        imputation(run),
        completed_windows,
        *([classification(run)] if not run.sites or run.schema.labels else []),
        *by_subgroup(run),
        by_site(run),
        training(run),
        cost(run),
        configuration(run),
    ]
    return page(f"Report of the run {run.name}", summary(run), sections)


def summary(run: RunRecord) -> str:
    """Summarise the run in a few sentences."""
    data = f"the data set {run.schema.dataset}" if run.sites else "no data set yet"
    sites = f"{len(run.sites)} site" + ("" if len(run.sites) == 1 else "s")
    sentences = [f"Method {run.config['method']} on {data}, {sites}, seed {run.config['seed']}."]
    if run.result is None:
        line = run.history[-1] if run.history else None
        last = f"its last round was {line.phase}, round {line.round}" if line else "no round is complete"
        sentences.append(f"The run is not finished: {last}. This report shows what there is so far.")
    for pattern, rows in run.imputation.items():
        if "condi" in rows and "linear" in rows:
            imputer, naive = (f"{rows[row]['rmse']:.3f}" for row in ("condi", "linear"))
            label = missingness_label(pattern)
            sentences.append(f"Imputation RMSE, {label}: {imputer} ({imputer_label('linear')}: {naive}).")
    for method, metrics in run.task.items():
        metric = primary_metric(run.schema.task)
        sentences.append(f"{metric.label} of {method}: {metric_cell(metric, metrics.get(metric.name)).text}.")
    return " ".join(sentences)
