"""The page of a run, and the frame that every page has: one file that needs nothing else."""

from __future__ import annotations

from pathlib import Path

from data_partitions.table import format_number
from server_app.artifacts.run_directory import RunDirectory
from server_app.artifacts.run_record import ReportError, RunRecord, read_run
from server_app.report.classification import classification
from server_app.report.configuration import configuration
from server_app.report.imputation import imputation
from server_app.report.markup import Section, page
from server_app.report.participants import participants
from server_app.report.rounds import cost, training
from server_app.report.sites import by_site
from server_app.report.windows import Progress, windows


def write_report(
    run: Path,
    data: list[Path] | None = None,
    out: Path | None = None,
    limit: float | None = None,
    progress: Progress = lambda done, all_: None,
) -> Path:
    """Write the page of a run to `out` (default: `report.html` in it); the path written.

    `data` are partitions to draw windows from, `limit` the seconds that may take. Raises ReportError when
    there is no run, or it is damaged, or the page cannot be written.
    """
    record, path = read_run(run), out or run / "report.html"
    if not path.parent.is_dir():
        raise ReportError(f"cannot write {path}: there is no such folder; choose another place by --out")
    content = run_page(record, windows(record, data or [], limit, progress))
    return write_page(path, content)


def write_page(path: Path, content: str) -> Path:
    try:
        RunDirectory(path.parent).write(path.name, content)
    except OSError as error:
        raise ReportError(f"cannot write {path}: {error.strerror}; choose another place by --out") from None
    return path


def run_page(run: RunRecord, drawn: Section) -> str:
    """The whole page; `drawn` is its section of windows."""
    sections = [
        participants(run),
        training(run),
        imputation(run),
        drawn,
        classification(run),
        by_site(run),
        cost(run),
        configuration(run),
    ]
    return page(run.name, status(run), sections)


def status(run: RunRecord) -> str:
    """What a reader wants to know first, in a few sentences."""
    data = run.schema.dataset if run.sites else "no site yet"
    told = [f"Method {run.config['method']} on {data}, {len(run.sites)} sites, seed {run.config['seed']}."]
    if run.result is None:
        last = f"{run.history[-1].phase}, round {run.history[-1].round}" if run.history else "no round"
        told.append(f"The run is not finished: its last round was {last}; this is what there is of it.")
    for kind, rows in run.imputation.items():
        if "condi" in rows and "linear" in rows:
            mine, naive = format_number(rows["condi"]["rmse"]), format_number(rows["linear"]["rmse"])
            told.append(f"RMSE of {kind}: {mine} (linear interpolation {naive}).")
    for method, metrics in run.task.items():
        told.append(f"AUROC of {method}: {format_number(metrics.get('auroc'))}.")
    return " ".join(told)
