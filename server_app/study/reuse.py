"""A run that begins where another has ended: the same training, scored on test windows with other missingness."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path

from condi_core.protocol import fingerprint
from condi_core.run_files import CHECKPOINT_FILE, ROSTER_FILE, RunFileError, read_versions
from server_app.artifacts.run_directory import RunDirectory, RunState
from server_app.errors import RunError
from server_app.operations.run_config import SettingValue
from server_app.settings import validate_settings


def reuse_training(trained: Path, settings: dict[str, SettingValue]) -> bool:
    """Make the folder of a run of `settings`, to go on with, whose rounds are those of the run in `trained`.

    That one must have trained alike, with these methods among others. Nothing is made where its checkpoint
    cannot be read or is of other code. RunError when the folder cannot be made.
    """
    config, other = validate_settings(settings), RunDirectory(trained)
    try:
        code = read_versions(trained)["code"]
        if code != fingerprint() or not (trained / CHECKPOINT_FILE).exists():
            return False
        state, roster = other.load(), other.roster()
    except (RunError, RunFileError, KeyError):
        return False
    directory = RunDirectory.create(config, "")
    directory.save(_of(state, [config.method, *config.compare_with.split(",")]))
    directory.write_json(ROSTER_FILE, roster)
    return True


def _of(state: RunState, methods: Collection[str]) -> RunState:
    """The part of a state that some methods need: phase 1, and their phases of the task."""

    def needed(phase: str) -> bool:
        return not phase.startswith("task-") or phase.removeprefix("task-") in methods

    def part(named: dict) -> dict:
        return {name: value for name, value in named.items() if needed(name)}

    history = [line for line in state.history if needed(line["phase"])]
    models, best = part(state.models), part(state.best)
    return RunState(part(state.done), state.noisy_releases, part(state.scores), history, models, best)
