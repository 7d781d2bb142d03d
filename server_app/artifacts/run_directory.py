"""Write the run directory of the coordinator, with the checkpoint from which a run is resumed.

`condi_core.run_files` lists the files and reads those that hold JSON.
"""

from __future__ import annotations

import json
import os
import platform
from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager, ExitStack, suppress
from dataclasses import dataclass, field
from datetime import datetime
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save

from condi_core.averaging import Arrays, has_site_versions, site_view
from condi_core.config import RunConfig
from condi_core.protocol import fingerprint
from condi_core.run_files import (
    CHECKPOINT_FILE,
    CONFIG_FILE,
    DESCRIPTION_FILE,
    HISTORY_FILE,
    ROSTER_FILE,
    RunFileError,
    RunFileMissingError,
    read_config,
    read_roster,
    replicates_path,
    sums_path,
    weights_path,
)
from condi_core.weights_file import weights_to_bytes
from data_partitions import DataError
from data_partitions.manifest import Manifest
from data_partitions.storage import atomic_write, reserve_folder, sync_directory
from server_app.errors import NEW_RUN_HINT, RunError

DESCRIPTION_HEAD = """\
# The data set of this run, as all its sites described it; hash {hash}.
# Settings of single hospitals (files, table, channels) are absent: give yours in a file of its own.
"""
PACKAGES = ("condi", "flwr", "torch", "numpy", "safetensors")


def versions() -> dict[str, str]:
    """Return the coordinator's software versions.

    `code` is the hash of the method's source, which all sites must share.
    """
    result = {"python": platform.python_version(), "platform": platform.platform(), "code": fingerprint()}
    for package in PACKAGES:
        try:
            result[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            result[package] = "not installed as a package"
    return result


def output_folder(config: RunConfig) -> Path:
    """Return the folder in which a run has its directory."""
    return (Path(os.path.expanduser(config.output)) if config.output else Path("runs")).absolute()


@dataclass
class RunState:
    """The state of a run: finished rounds of each phase, current and best weights, and the history."""

    done: dict[str, int] = field(default_factory=dict)  # phase → finished rounds
    noisy_releases: int = 0  # averages with noise that left the coordinator, including unfinished rounds
    scores: dict[str, tuple[float, int]] = field(default_factory=dict)  # model → best score and its round
    history: list[dict] = field(default_factory=list)
    models: dict[str, Arrays] = field(default_factory=dict)
    best: dict[str, Arrays] = field(default_factory=dict)


class RunDirectory(AbstractContextManager["RunDirectory"]):
    """Write one run directory, each file atomically.

    While it is open as a context, no other coordinator opens it: two that resumed one run would not count
    each other's rounds, and so not all noisy averages that were disclosed.

    Parameters
    ----------
    path : Path
        An existing run directory; `create` makes a new one, and `resume` finds one.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._lock = ExitStack()

    def __enter__(self) -> RunDirectory:
        """Lock the directory; RunError when another coordinator has, which the message names."""
        try:
            self._lock.enter_context(reserve_folder(self.path))
        except DataError as error:
            raise RunError(str(error)) from None
        return self

    def __exit__(self, *error: object) -> None:
        self._lock.close()

    @classmethod
    def create(cls, config: RunConfig, dataset: str) -> RunDirectory:
        """Make a new run directory and write its config.json.

        Parameters
        ----------
        config : RunConfig
            The run's settings: `output` is the parent directory (default `./runs`) and `name` the directory
            (default: method, data set and time).
        dataset : str
            Name of the data set.

        Raises
        ------
        RunError
            The directory exists, or it cannot be made.
        """
        name = config.name or f"{config.method}-{dataset}-{datetime.now():%Y%m%d-%H%M%S}"
        path = output_folder(config) / name
        try:
            path.mkdir(parents=True)
            sync_directory(path.parent)
            _replace_file(path / CONFIG_FILE, json.dumps(config.flat(), indent=1))
        except FileExistsError:
            raise RunError(
                f"the run directory {path} exists: choose another name, or resume it with resume='{path}'"
            ) from None
        except OSError as error:
            with suppress(OSError):
                path.rmdir()  # so that the name can be used when there is space
            raise RunError(
                f"cannot make the run directory {path}: {error.strerror}; choose another folder with output"
            ) from None
        return cls(path)

    @classmethod
    def resume(cls, config: RunConfig) -> RunDirectory:
        """Find the run directory named by `resume`.

        Raises
        ------
        RunError
            There is no such run, its settings are damaged, or it was trained with others.
        """
        directory = cls(Path(os.path.expanduser(config.resume)).absolute())
        try:
            before = read_config(directory.path)
        except RunFileMissingError:
            raise RunError(
                f"there is no run to resume at {directory.path}: it has no {CONFIG_FILE}"
            ) from None
        except RunFileError as error:
            raise RunError(f"{error}: {NEW_RUN_HINT}") from None
        if different := config.training_differences(before):
            settings = before.flat()
            pairs = " ".join(f"{key}={json.dumps(settings[key])}" for key in different)
            raise RunError(
                f"the checkpoint in {directory.path} was trained with other settings: resume it with its own "
                f"settings, --run-config '{pairs} resume=\"{directory.path}\"', or {NEW_RUN_HINT}"
            )
        return directory

    def write(self, name: str, content: str | bytes) -> None:
        """Replace a file atomically; RunError when that fails, and the file then keeps its old content."""
        try:
            _replace_file(self.path / name, content)
        except OSError as error:
            raise RunError(
                f"cannot write {self.path / name}: {error.strerror}; the last checkpoint is still valid: "
                f"free some space and resume with resume='{self.path}'"
            ) from None

    def write_json(self, name: str, content: Any) -> None:
        """Replace a file by JSON atomically."""
        self.write(name, json.dumps(content, indent=1))

    def write_description(self, manifest: Manifest) -> None:
        """Write what the sites agreed on about their data, if they described them; see `DESCRIPTION_HEAD`."""
        if manifest.description:
            head = DESCRIPTION_HEAD.format(hash=manifest.description_hash)
            self.write(DESCRIPTION_FILE, head + manifest.description)

    def save(self, state: RunState) -> None:
        """Write the history and the checkpoint.

        Both are replaced atomically: lines that were only appended would appear twice after a run is resumed
        from the checkpoint before them, and a checkpoint of several files could mix two rounds.

        Raises
        ------
        RunError
            The disk is full, or cannot be written; the previous checkpoint is still valid then.
        """
        arrays = {
            f"{kind}/{model}/{name}": np.ascontiguousarray(array)
            for kind, models in (("models", state.models), ("best", state.best))
            for model, named in models.items()
            for name, array in named.items()
        }
        names = ("done", "noisy_releases", "scores", "history")
        progress = {name: getattr(state, name) for name in names}
        self.write(HISTORY_FILE, "".join(json.dumps(line) + "\n" for line in state.history))
        self.write(CHECKPOINT_FILE, save(arrays, metadata={"state": json.dumps(progress)}))

    def save_model(
        self,
        name: str,
        state: Arrays,
        metadata_for: Callable[[str], dict[str, str]],
        sites: Iterable[str] = (),
    ) -> None:
        """Write the weights of a model with the metadata that using them needs.

        Parameters
        ----------
        name : str
            Name of the model, such as `imputer` or `task-condi`.
        state : Arrays
            Its weights; with versions of their own for `sites`, one file per site is written.
        metadata_for : callable
            Gives the metadata of a site's file, or for "" that of the one file of all sites.
        sites : iterable of str
            Sites of the run.
        """
        names = list(sites)
        for site in names if has_site_versions(state, names) else [""]:
            content = weights_to_bytes(site_view(state, site), metadata_for(site))
            self.write(weights_path(self.path, name, site).name, content)

    def save_sums(self, phase: str, sums: dict[str, Arrays], split: str = "test") -> None:
        """Write what each site added to the scores of a phase, as arrays `<site>/<name>`."""
        arrays = {
            f"{site}/{name}": np.asarray(array, float)
            for site, named in sums.items()
            for name, array in named.items()
        }
        self.write(sums_path(self.path, phase, split).name, weights_to_bytes(arrays, {}))

    def save_replicates(self, phase: str, replicates: Arrays) -> None:
        """Write the replicates of each site's test sums of a phase, if sites sent any."""
        if replicates:
            self.write(replicates_path(self.path, phase).name, weights_to_bytes(replicates, {}))

    def roster(self) -> dict[str, dict]:
        """Return the sites as they were when the run started; RunError when they cannot be read."""
        try:
            return read_roster(self.path)
        except RunFileError:
            raise RunError(f"{self.path / ROSTER_FILE} is missing or damaged: {NEW_RUN_HINT}") from None

    def load(self) -> RunState:
        """Return the state in the checkpoint; RunError when it is damaged."""
        path = self.path / CHECKPOINT_FILE
        if not path.exists():
            return RunState()  # the run stopped before its first round was finished
        try:
            with safe_open(path, "np") as file:
                state = RunState(**json.loads(file.metadata()["state"]))
                for key in file.keys():  # noqa: SIM118 - not a dict
                    kind, model, name = key.split("/", 2)
                    array = file.get_tensor(key)
                    if not np.isfinite(array).all():
                        raise ValueError(f"{key} is not finite")
                    getattr(state, kind).setdefault(model, {})[name] = array
        except (SafetensorError, ValueError, TypeError, KeyError) as error:
            raise RunError(f"the checkpoint {path} is damaged ({error}): {NEW_RUN_HINT}") from None
        state.scores = {model: (score, round_) for model, (score, round_) in state.scores.items()}
        return state


def _replace_file(path: Path, content: str | bytes) -> None:
    with atomic_write(path) as file:
        file.write(content.encode() if isinstance(content, str) else content)
