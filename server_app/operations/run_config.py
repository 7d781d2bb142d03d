"""Read settings of a run as a user writes them, in pairs or TOML files, and the defaults of the others."""

import json
import os
import re
import tomllib
from collections.abc import Iterable
from pathlib import Path

from server_app.operations.app_folder import PYPROJECT

SettingValue = str | int | float | bool


class RunRejectedError(Exception):
    """The run cannot be started as requested; the message says what to change."""


def default_settings() -> dict[str, SettingValue]:
    """Return every setting of a run with its default, in Flower's flat form: `{"imputer.rounds": 4, ...}`.

    Raises
    ------
    RunRejectedError
        When the file with the defaults is missing or damaged.
    """
    from condi_core.config import flatten  # imports pydantic, which the help of commands does not need

    try:
        return flatten(tomllib.loads(PYPROJECT.read_text())["tool"]["flwr"]["app"]["config"])
    except (OSError, KeyError, ValueError):
        raise RunRejectedError(f"{PYPROJECT} has no settings of a run: install CondI again.") from None


def read_run_config(entries: Iterable[str]) -> dict[str, SettingValue]:
    """Read settings from the values of `--run-config`.

    Unlike Flower, this refuses what it cannot read instead of ignoring it, and accepts files and pairs
    together.

    Parameters
    ----------
    entries : each either `key=value key2='some text'` or the path of a TOML file; later entries win

    Returns
    -------
    Settings in Flower's flat form.

    Raises
    ------
    RunRejectedError
        When an entry cannot be read.
    """
    from condi_core.config import flatten

    pair = re.compile(r"(\S+?)=('[^']*'|\"[^\"]*\"|\S+)")
    settings: dict[str, SettingValue] = {}
    for entry in entries:
        try:
            if entry.endswith(".toml"):
                table = tomllib.loads(Path(os.path.expanduser(entry)).read_text())
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


def write_run_config(settings: dict[str, SettingValue], path: Path) -> None:
    """Write settings as a TOML file for `flwr run`."""
    path.write_text("".join(f"{key} = {_to_toml(value)}\n" for key, value in settings.items()))


def _to_toml(value: SettingValue) -> str:
    if isinstance(value, bool | str):
        return json.dumps(value, ensure_ascii=False)
    return str(value)
