"""The files of a run directory: their names, and checked reading of those that hold JSON.

runs/<name>/
  config.json                settings of the run, in Flower's flat form
  roster.json                sites of the run: manifest, label counts and standardising sums of each
  dataset.toml               what the sites agreed on about their data, where these were described
  progress.json              what the coordinator is doing and which sites work, while the run lasts
  drained.json               sites that are not asked for now, if `condi sites` drained any
  joining.json               sites that join before the next round, if `condi sites` admitted any
  history.jsonl              one line per round: loss, metrics, bytes, seconds, which sites answered
  checkpoint.safetensors     everything that resuming needs, replaced after every round
  imputer.safetensors        the best imputer, with schema and settings in its metadata
  task-<method>.safetensors  the best task model of a method
  val-task-<method>.safetensors   sums of the validation scores of those weights, which set thresholds
  test-<phase>.safetensors   sums of the test scores by site, from which a report draws its curves
  replicates-<phase>.safetensors  replicates of those sums over patients, from which intervals are read
  result.json                the closing tables as numbers
  versions.json              software versions of the coordinator
  report.html, model-card.md, tensorboard/

Methods that train one model per site write `task-<method>.<site>.safetensors` instead.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

from condi_core.config import RunConfig

CONFIG_FILE = "config.json"
ROSTER_FILE = "roster.json"
DESCRIPTION_FILE = "dataset.toml"
HISTORY_FILE = "history.jsonl"
PROGRESS_FILE = "progress.json"
DRAINED_FILE = "drained.json"
JOINING_FILE = "joining.json"
RESULT_FILE = "result.json"
VERSIONS_FILE = "versions.json"
CHECKPOINT_FILE = "checkpoint.safetensors"
REPORT_FILE = "report.html"
MODEL_CARD_FILE = "model-card.md"
TENSORBOARD_FOLDER = "tensorboard"
WEIGHTS_SUFFIX = ".safetensors"

Content = TypeVar("Content")


class RunFileError(ValueError):
    """A file of a run directory is missing or cannot be used; the message says which and why."""


class RunFileMissingError(RunFileError):
    """A run directory has no such file."""


def read_config(run: Path) -> RunConfig:
    """Read and check the settings of a run.

    Parameters
    ----------
    run : Path
        The run directory.

    Returns
    -------
    RunConfig

    Raises
    ------
    RunFileMissingError
        There is no config.json.
    RunFileError
        It is damaged, or was written by another version.
    """
    return read_json(run / CONFIG_FILE, lambda content: RunConfig.from_flat(_require_dict(content)))


def read_settings(run: Path) -> dict[str, Any]:
    """Read the settings of a run in Flower's flat form, as they are: those of an older version may be fewer.

    RunFileError as in `read_config`.
    """

    def convert(content: Any) -> dict[str, Any]:
        if not isinstance(_require_dict(content).get("method"), str) or "seed" not in content:
            raise ValueError("the settings of a run, with method and seed, were expected")
        return content

    return read_json(run / CONFIG_FILE, convert)


def read_roster(run: Path) -> dict[str, dict[str, Any]]:
    """Read what each site of a run reported about itself, by site name. RunFileError as in `read_config`."""
    return read_json(run / ROSTER_FILE, _require_dict_of_dicts)


def read_result(run: Path) -> dict[str, Any]:
    """Read the closing tables of a finished run. RunFileError as in `read_config`."""
    return read_json(run / RESULT_FILE, _require_dict_of_dicts)


def read_versions(run: Path) -> dict[str, str]:
    """Read the software versions of the coordinator. RunFileError as in `read_config`."""
    return read_json(run / VERSIONS_FILE, _require_dict_of_texts)


def read_progress(run: Path) -> dict[str, Any]:
    """Read what the coordinator was doing when it last wrote. RunFileError as in `read_config`."""
    return read_json(run / PROGRESS_FILE, _require_dict)


def read_history(run: Path) -> list[dict[str, Any]]:
    """Read the rounds of a run in order. RunFileError as in `read_config`."""
    file = run / HISTORY_FILE
    lines = [line for line in _read_text(file).splitlines() if line.strip()]
    return interpret(file, lambda: [_require_dict(json.loads(line)) for line in lines])


def read_json(file: Path, convert: Callable[[Any], Content]) -> Content:
    """Read a file of JSON and convert its content; RunFileError when either fails."""
    text = _read_text(file)
    return interpret(file, lambda: convert(json.loads(text)))


def interpret(file: Path, convert: Callable[[], Content]) -> Content:
    """Return what `convert` makes of a file's content; its errors become a RunFileError."""
    try:
        return convert()
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        # The first line of pydantic's message only states the number of errors.
        errors = getattr(error, "errors", None)
        reason = errors()[0]["msg"] if errors else str(error)
        reason = " ".join(reason.split())[:200]
        raise RunFileError(f"{file} is damaged or was written by another version ({reason})") from None


def weights_path(run: Path, model: str, site: str = "") -> Path:
    """Return the path of the weights of a model such as `imputer`, or of one site's version of it."""
    return run / f"{model}.{site}{WEIGHTS_SUFFIX}" if site else run / f"{model}{WEIGHTS_SUFFIX}"


def weights_paths(run: Path, prefix: str) -> dict[Path, str]:
    """Return the weights files of models whose names start with `prefix`, each with its site.

    The site is "" for files that all sites share. Shorter names come first: `imputer` before `imputer-local`.
    """
    sites = {
        path: path.name.removesuffix(WEIGHTS_SUFFIX).partition(".")[2]
        for path in run.glob(f"{prefix}*{WEIGHTS_SUFFIX}")
    }
    return dict(sorted(sites.items(), key=lambda item: (len(item[0].name), item[0].name)))


def sums_path(run: Path, phase: str, split: str = "test") -> Path:
    """Return the path of the sums of a phase's scores on windows of a split, "test" or "val"."""
    return run / f"{split}-{phase}{WEIGHTS_SUFFIX}"


def replicates_path(run: Path, phase: str) -> Path:
    """Return the path of the replicates of the sums of a phase's test scores."""
    return run / f"replicates-{phase}{WEIGHTS_SUFFIX}"


def _read_text(file: Path) -> str:
    try:
        return file.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise RunFileMissingError(f"{file.parent} is not a run directory: it has no {file.name}") from None
    except (OSError, UnicodeDecodeError) as error:
        raise RunFileError(f"{file} cannot be read ({error})") from None


def _require_dict(content: Any) -> dict[str, Any]:
    if not isinstance(content, dict):
        raise ValueError("a JSON object was expected")
    return content


def _require_dict_of_texts(content: Any) -> dict[str, str]:
    if not all(isinstance(value, str) for value in _require_dict(content).values()):
        raise ValueError("a JSON object of texts was expected")
    return content


def _require_dict_of_dicts(content: Any) -> dict[str, dict[str, Any]]:
    if not all(isinstance(value, dict) for value in _require_dict(content).values()):
        raise ValueError("a JSON object of objects was expected")
    return content
