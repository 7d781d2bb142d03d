"""What a run leaves by itself when it ends, well or not: its page and its model card."""

from __future__ import annotations

from pathlib import Path

from server_app.artifacts.run_directory import RunDirectory
from server_app.artifacts.run_record import read_run
from server_app.report.model_card import model_card
from server_app.report.page import write_report

LIMIT = 5.0  # seconds for windows; `condi report` has all the time it needs


def write_closing_documents(path: Path) -> str:
    """Write both into the run directory; where they are, or why not. A run never fails by its report."""
    told = []
    for name, write in (("report.html", _report), ("model-card.md", _card)):
        try:
            write(path)
            told.append(f"{name.partition('.')[0].replace('-', ' ').capitalize()}: {path / name}")
        except Exception as error:
            told.append(f"note: {name} was not written ({type(error).__name__}: {error})")
    return "\n".join(told)


def _report(path: Path) -> None:
    # Windows are records of patients: they are put on a page when somebody asks for it.
    write_report(path, limit=LIMIT if read_run(path).is_synthetic else 0.0)


def _card(path: Path) -> None:
    RunDirectory(path).write("model-card.md", model_card(read_run(path)))
