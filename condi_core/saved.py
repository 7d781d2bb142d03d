"""Reading the weights a run has left. The format holds arrays and text, never code."""

from __future__ import annotations

from pathlib import Path

from pydantic import ValidationError
from safetensors import SafetensorError, safe_open

from condi_core.config import ImputerConfig
from condi_core.imputer.imputer import Imputer
from condi_core.windows import Schema


class SavedError(ValueError):
    """A file of weights that cannot be used; the message says why."""


def load_imputer(path: str | Path) -> tuple[Imputer, Schema]:
    """The imputer in `imputer.safetensors` of a run, ready to use, and the schema of its windows."""
    try:
        with safe_open(Path(path), "pt") as file:
            told = file.metadata() or {}
            schema = Schema.model_validate_json(told["schema"])
            model = Imputer(schema, ImputerConfig.model_validate_json(told["settings"]))
            model.load_state_dict({name: file.get_tensor(name) for name in file.keys()})  # noqa: SIM118
    except FileNotFoundError:
        raise SavedError(f"there is no imputer at {path}: give the imputer.safetensors of a run") from None
    except (SafetensorError, ValidationError, KeyError, RuntimeError, OSError) as error:
        first = str(error).splitlines()[0]
        raise SavedError(f"{path} is not an imputer of this version, or is damaged ({first})") from None
    return model.eval(), schema
