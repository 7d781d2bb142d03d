"""Write the report of a run: one HTML file that loads nothing else."""

from __future__ import annotations

from pathlib import Path

from condi_core.run_files import REPORT_FILE
from data_partitions.storage import atomic_write
from data_partitions.table import escape_html
from server_app.artifacts.run_record import ReportError, RunRecord, read_run
from server_app.report.card.use import LIMITS
from server_app.report.classification import classification
from server_app.report.completed_windows import Progress
from server_app.report.configuration import configuration
from server_app.report.findings import Findings
from server_app.report.gains import gains_section
from server_app.report.imputation import imputation
from server_app.report.markup import Section, page, section
from server_app.report.overview import overview, verdict
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
    findings = Findings(run)
    sections = [
        gains_section(run, findings.gains, findings.ranked_gains),
        imputation(run),
        completed_windows,
        *([classification(run)] if not run.sites or run.schema.labels else []),
        *by_subgroup(run),
        _limits(),
        participants(run),
        by_site(run),
        training(run),
        cost(run),
        configuration(run),
    ]
    return page(f"Report of the run {run.name}", verdict(findings), sections, overview(findings))


def _limits() -> Section:
    """Return the section of what the models are not for, as in the model card."""
    items = "".join(f"<li>{escape_html(limit)}</li>" for limit in LIMITS)
    return section("Limits of use", f"<ul>{items}</ul>")
