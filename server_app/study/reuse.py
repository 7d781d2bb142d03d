"""Start a run from the trained models of another, to score them on test windows with other missingness."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path
from typing import TypeVar

from condi_core.protocol import fingerprint
from condi_core.run_files import CHECKPOINT_FILE, ROSTER_FILE, RunFileError, read_versions, sums_path
from server_app.artifacts.run_directory import RunDirectory, RunState
from server_app.errors import RunError
from server_app.operations.run_config import SettingValue
from server_app.settings import validate_settings
from server_app.study.results import replace_file

T = TypeVar("T")


def reuse_training(trained: Path, settings: dict[str, SettingValue]) -> bool:
    """Make a run folder that can be resumed with the trained models of another run.

    Parameters
    ----------
    trained : folder of the other run, which trained in the same way, with these methods among others
    settings : settings of the new run

    Returns
    -------
    Whether the folder was made. It is not made if the checkpoint of the other run is unreadable, or if other
    code has written it.

    Raises
    ------
    RunError
        When the new folder cannot be made.
    """
    config, other = validate_settings(settings), RunDirectory(trained)
    try:
        code = read_versions(trained)["code"]
        if code != fingerprint() or not (trained / CHECKPOINT_FILE).exists():
            return False
        state, roster = other.load(), other.roster()
    except (RunError, RunFileError, KeyError):
        return False
    with RunDirectory.create(config, "") as directory:
        directory.save(_state_of_methods(state, config.methods))
        directory.write_json(ROSTER_FILE, roster)
        for method in config.methods:  # thresholds of the report come from the validation of training
            sums = sums_path(trained, f"task-{method}", "val")
            if sums.exists():
                replace_file(directory.path / sums.name, sums.read_bytes())
    return True


def _state_of_methods(state: RunState, methods: Collection[str]) -> RunState:
    """Return the part of a state that some methods need: phase 1, and their phases of the task."""

    def is_needed(phase: str) -> bool:
        return not phase.startswith("task-") or phase.removeprefix("task-") in methods

    def needed(by_phase: dict[str, T]) -> dict[str, T]:
        return {phase: value for phase, value in by_phase.items() if is_needed(phase)}

    return RunState(
        needed(state.done),
        state.noisy_releases,
        needed(state.scores),
        [line for line in state.history if is_needed(line["phase"])],
        needed(state.models),
        needed(state.best),
    )
