"""The run directory: settings, roster, history, weights, and the checkpoint that a run can go on from.

runs/<name>/
  config.json            settings of the run
  roster.json            who takes part, with what
  history.jsonl          one line per round: loss, metrics, bytes, seconds, who answered
  checkpoint.safetensors all that going on needs, replaced as a whole after every round
  imputer.safetensors    the best imputer; schema and settings in its metadata
  task-<method>.safetensors  (of methods that train a model per site: task-<method>.<site>.safetensors)
  test-<phase>.safetensors  sums of the test scores, by site: what a report's curves are drawn from
  result.json            the closing tables as numbers
  versions.json          what the coordinator ran with
  report.html, model-card.md, tensorboard/
"""

from __future__ import annotations

import json
import platform
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from datetime import datetime
from importlib import metadata
from pathlib import Path

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save

from condi_core.averaging import Arrays, has_site_versions, site_view
from condi_core.config import RunConfig
from condi_core.protocol import fingerprint
from condi_core.weights_file import weights_to_bytes
from data_partitions.storage import atomic_write
from server_app.errors import RunError

CHECKPOINT = "checkpoint.safetensors"
PACKAGES = ("condi", "flwr", "torch", "numpy", "safetensors")


def versions() -> dict[str, str]:
    """What the coordinator works with; `code` is the hash of the method's source that sites must share."""
    found = {"python": platform.python_version(), "platform": platform.platform(), "code": fingerprint()}
    for package in PACKAGES:
        try:
            found[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            found[package] = "not installed as a package"
    return found


@dataclass
class RunState:
    """Where a run stands: rounds done in each phase, weights now and at the best round, history."""

    done: dict[str, int] = field(default_factory=dict)  # phase → rounds finished
    released: int = 0  # averages with noise that have left the coordinator, also of rounds not finished
    scores: dict[str, tuple[float, int]] = field(default_factory=dict)  # model → best score and its round
    history: list[dict] = field(default_factory=list)
    models: dict[str, Arrays] = field(default_factory=dict)
    best: dict[str, Arrays] = field(default_factory=dict)


class RunDirectory:
    """Reads and writes one run directory; every file appears whole or not at all."""

    def __init__(self, path: Path) -> None:
        self.path = path

    @classmethod
    def create(cls, config: RunConfig, dataset: str) -> RunDirectory:
        """A new directory below `output` (default `./runs`); RunError when it exists or cannot be made."""
        name = config.name or f"{config.method}-{dataset}-{datetime.now():%Y%m%d-%H%M%S}"
        path = (Path(config.output).expanduser() if config.output else Path("runs")).absolute() / name
        try:
            path.mkdir(parents=True)
        except FileExistsError:
            raise RunError(
                f"the run directory {path} exists: choose another name, or go on with it by resume='{path}'"
            ) from None
        except OSError as error:
            raise RunError(f"cannot make the run directory {path}: {error.strerror}; set output") from None
        directory = cls(path)
        directory.write("config.json", json.dumps(config.flat(), indent=2))
        return directory

    @classmethod
    def resume(cls, config: RunConfig) -> tuple[RunDirectory, RunState]:
        """The directory named by `resume` and the state of its checkpoint; RunError when they do not fit."""
        directory = cls(Path(config.resume).expanduser().absolute())
        try:
            before = RunConfig.from_flat(json.loads((directory.path / "config.json").read_text()))
        except FileNotFoundError:
            raise RunError(
                f"there is no run to go on with at {directory.path}: it has no config.json"
            ) from None
        except ValueError as error:
            raise RunError(
                f"{directory.path}/config.json is damaged or of another version: {error}"
            ) from None
        if different := config.training_differences(before):
            was = before.flat()
            pairs = " ".join(f"{k}={json.dumps(was[k])}" for k in different)
            raise RunError(
                f"the checkpoint in {directory.path} is of another configuration: go on with its own "
                f"settings, --run-config '{pairs} resume=\"{directory.path}\"', or start a new run"
            )
        return directory, directory.load()

    def write(self, name: str, content: str | bytes) -> None:
        """Replace a file as a whole; what was there stays when the disk is full. OSError when it fails."""
        with atomic_write(self.path / name) as file:
            file.write(content.encode() if isinstance(content, str) else content)

    def save(self, state: RunState) -> None:
        """Write history and checkpoint; RunError when that fails, with the last checkpoint still valid."""
        arrays = {
            f"{kind}/{model}/{name}": np.ascontiguousarray(a)
            for kind, models in (("models", state.models), ("best", state.best))
            for model, named in models.items()
            for name, a in named.items()
        }
        told = {name: getattr(state, name) for name in ("done", "released", "scores", "history")}
        try:
            self.write("history.jsonl", "".join(json.dumps(line) + "\n" for line in state.history))
            self.write(CHECKPOINT, save(arrays, metadata={"state": json.dumps(told)}))
        except OSError as error:
            raise RunError(
                f"cannot write the checkpoint in {self.path}: {error.strerror}; the one before is still "
                f"valid: make room and go on with resume='{self.path}'"
            ) from None

    def save_model(
        self, name: str, state: Arrays, told: Callable[[str], dict[str, str]], sites: Iterable[str] = ()
    ) -> None:
        """Write weights with what is needed to use them, which `told` says of a site, or of all ("").

        One file; or, where sites have versions of their own, one each: `name.site.safetensors`.
        """
        apart = list(sites)
        for site in apart if has_site_versions(state, apart) else [""]:
            file = f"{name}.{site}.safetensors" if site else f"{name}.safetensors"
            self.write(file, weights_to_bytes(site_view(state, site), told(site)))

    def save_sums(self, phase: str, sums: dict[str, Arrays]) -> None:
        """Write what each site has added to the test scores of a phase, as arrays `<site>/<name>`."""
        arrays = {
            f"{site}/{name}": np.asarray(a, float)
            for site, named in sums.items()
            for name, a in named.items()
        }
        self.write(f"test-{phase}.safetensors", weights_to_bytes(arrays, {}))

    def roster(self) -> dict:
        """What the sites were when the run began; RunError when that is not to be had."""
        try:
            return dict(json.loads((self.path / "roster.json").read_text()))
        except (OSError, ValueError, TypeError):
            raise RunError(f"{self.path}/roster.json is missing or damaged: start a new run") from None

    def load(self) -> RunState:
        """The state of the checkpoint; RunError when it is damaged."""
        path = self.path / CHECKPOINT
        if not path.exists():
            return RunState()  # stopped before the first round was over
        try:
            with safe_open(path, "np") as file:
                state = RunState(**json.loads(file.metadata()["state"]))
                for key in file.keys():  # noqa: SIM118 - not a dict
                    kind, model, name = key.split("/", 2)
                    getattr(state, kind).setdefault(model, {})[name] = file.get_tensor(key)
        except (SafetensorError, ValueError, TypeError, KeyError) as error:
            raise RunError(f"the checkpoint {path} is damaged ({error}): start a new run") from None
        state.scores = {model: (score, round_) for model, (score, round_) in state.scores.items()}
        return state


def state_arrays(model: torch.nn.Module) -> Arrays:
    """A copy of a model's weights and buffers as named arrays."""
    return {name: np.array(t.detach().numpy()) for name, t in model.state_dict().items()}
