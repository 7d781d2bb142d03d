"""The documents that a run writes when it ends, successfully or not: its report and its model card."""

from __future__ import annotations

from pathlib import Path

from condi_core.run_files import MODEL_CARD_FILE, REPORT_FILE
from server_app.artifacts.run_directory import RunDirectory
from server_app.artifacts.run_record import read_run
from server_app.report.model_card import model_card
from server_app.report.page import write_report

WINDOWS_SECONDS = 5.0  # time limit for the completion of windows; `condi report` has no limit


def write_closing_documents(path: Path) -> str:
    """Write report and model card into the run directory; return where they are, or why they are missing.

    A run never fails because of its documents.
    """
    lines = []
    for name, write in ((REPORT_FILE, _write_report), (MODEL_CARD_FILE, _write_card)):
        try:
            write(path)
            lines.append(f"{name.partition('.')[0].replace('-', ' ').capitalize()}: {path / name}")
        except Exception as error:
            lines.append(f"note: {name} was not written ({type(error).__name__}: {error})")
    return "\n".join(lines)


def _write_report(path: Path) -> None:
    # Windows are patients' records, which a page shows only on request.
    write_report(path, limit=WINDOWS_SECONDS if read_run(path).is_synthetic else 0.0)


def _write_card(path: Path) -> None:
    RunDirectory(path).write(MODEL_CARD_FILE, model_card(read_run(path)))
