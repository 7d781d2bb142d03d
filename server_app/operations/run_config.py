"""Settings of a run as a user gives them: pairs or TOML files, checked against those that the app has."""

import difflib
import json
import re
import tomllib
from collections.abc import Iterable
from pathlib import Path

from condi_core.config import flatten

PROJECT = Path(__file__).resolve().parents[2]

Value = str | int | float | bool


class RunRejectedError(Exception):
    """What was asked for cannot be run."""


def defaults(project: Path = PROJECT) -> dict[str, Value]:
    """Every setting that the app has, with its default."""
    try:
        app = tomllib.loads((project / "pyproject.toml").read_text())["tool"]["flwr"]["app"]
    except (OSError, KeyError, ValueError):
        raise RunRejectedError(
            f"Expected the pyproject.toml of a Flower app in {project}: install CondI from its checkout with "
            "`pip install -e .`."
        ) from None
    return flatten(app.get("config", {}))


def check_keys(project: Path, run_config: Iterable[str]) -> None:
    """Refuse settings that the app does not have; Flower would refuse them too, but not say which."""
    known, complaints = defaults(project), []
    for key in run_config:
        if key not in known:
            near = difflib.get_close_matches(key, known, n=1, cutoff=0.4)
            complaints.append(f"unknown setting {key!r}" + (f" (did you mean {near[0]!r}?)" if near else ""))
    if complaints:
        raise RunRejectedError("; ".join(complaints) + ".")


def read_run_config(entries: Iterable[str]) -> dict[str, Value]:
    """Settings from Flower's `--run-config`: `key=value key2='some text'` or the path of a TOML file.

    Unlike Flower this refuses what it cannot read instead of passing over it, and takes files and pairs.
    """
    pair = re.compile(r"(\S+?)=('[^']*'|\"[^\"]*\"|\S+)")
    settings: dict[str, Value] = {}
    for entry in entries:
        try:
            if entry.endswith(".toml"):
                table = tomllib.loads(Path(entry).expanduser().read_text())
            elif rest := pair.sub("", entry).strip():
                raise ValueError(f"{rest!r} is not of the form key=value")
            else:
                table = tomllib.loads("\n".join(f"{key} = {value}" for key, value in pair.findall(entry)))
        except OSError as error:
            raise RunRejectedError(f"Cannot read the run config {entry}: {error.strerror}.") from None
        except ValueError as error:
            raise RunRejectedError(
                f"Cannot read the run config {entry!r}: {error}; write pairs with text in quotes, such as "
                "\"rounds=3 device='cpu'\", or name a TOML file."
            ) from None
        settings |= flatten(table)
    return settings


def write_run_config(settings: dict[str, Value], path: Path) -> None:
    """Write settings as the TOML file that `flwr run` takes."""
    path.write_text("".join(f"{key} = {_toml(value)}\n" for key, value in settings.items()))


def _toml(value: Value) -> str:
    if isinstance(value, bool | str):
        return json.dumps(value, ensure_ascii=False)
    return str(value)
