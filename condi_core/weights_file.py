"""The weights a run leaves, written and read. The format holds arrays and text, never code.

A file carries the hash of all that is in it, so that one which was cut short or altered is noticed.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import torch
from pydantic import ValidationError
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save

from condi_core.config import ImputerConfig, TaskConfig
from condi_core.imputer.imputer import Imputer
from condi_core.methods import METHODS
from condi_core.task.model import TaskModel
from condi_core.windows import Schema

CHECKSUM_KEY = "sha256"


class WeightsFileError(ValueError):
    """A file of weights that cannot be used; the message says why."""


def hash_arrays(arrays: Mapping[str, np.ndarray], told: Mapping[str, str] | None = None) -> str:
    """Hash of named arrays and texts, independent of their order."""
    h = hashlib.sha256()
    for name in sorted(arrays):
        array = np.ascontiguousarray(arrays[name])
        h.update(f"{name} {array.dtype} {array.shape}\n".encode() + array.tobytes())
    for name in sorted(told or {}):
        text = told[name].encode()
        h.update(f"{name} {len(text)}\n".encode() + text)
    return h.hexdigest()


def weights_to_bytes(arrays: Mapping[str, np.ndarray], told: Mapping[str, str]) -> bytes:
    """Content of a file of weights, with what is needed to use them."""
    contiguous = {name: np.ascontiguousarray(a) for name, a in arrays.items()}
    return save(contiguous, metadata={**told, CHECKSUM_KEY: hash_arrays(contiguous, told)})


def read_weights(path: Path) -> tuple[dict[str, np.ndarray], dict[str, str]]:
    """Weights and texts of a file; SavedError when it is absent, damaged or altered."""
    try:
        with safe_open(path, "np") as file:
            told = file.metadata() or {}
            arrays = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - not a dict
    except FileNotFoundError:
        raise WeightsFileError(
            f"there is no {path.name} in {path.parent}: give the folder of a run"
        ) from None
    except (SafetensorError, OSError, TypeError) as error:
        first = str(error).splitlines()[0]
        raise WeightsFileError(f"{path} holds no weights, or is damaged ({first}): copy it anew") from None
    if (seal := told.pop(CHECKSUM_KEY, None)) is None:
        raise WeightsFileError(
            f"{path} has no {CHECKSUM_KEY} of its content: it is not a model of this version"
        )
    if seal != hash_arrays(arrays, told):
        raise WeightsFileError(
            f"{path} was altered or damaged after it was written: copy it anew from the run"
        )
    return arrays, told


def load_imputer(path: str | Path) -> tuple[Imputer, Schema]:
    """The imputer in `imputer.safetensors` of a run, ready to use, and the schema of its windows."""
    arrays, told = read_weights(Path(path))
    with _compatible(path):
        schema = Schema.model_validate_json(told["schema"])
        model = Imputer(schema, ImputerConfig.model_validate_json(told["settings"]))
        _fill(model, arrays)
    return model.eval(), schema


def load_task(path: str | Path) -> tuple[TaskModel, Schema, TaskConfig, dict[str, str]]:
    """A task model of a run, ready to use, its schema and settings, and what else the file tells."""
    arrays, told = read_weights(Path(path))
    with _compatible(path):
        schema = Schema.model_validate_json(told["schema"])
        config = TaskConfig.model_validate_json(told["settings"])
        told["imputer"]  # noqa: B018 - that it is there
        model = METHODS[told["method"]].model(schema, config)
        _fill(model, arrays)
    return model.eval(), schema, config, told


def _fill(model: torch.nn.Module, arrays: dict[str, np.ndarray]) -> None:
    model.load_state_dict({name: torch.from_numpy(a.copy()) for name, a in arrays.items()})


@contextmanager
def _compatible(path: str | Path) -> Iterator[None]:
    """Turns what can go wrong with weights that are whole, but of another kind, into one sentence."""
    try:
        yield
    except (KeyError, RuntimeError, TypeError, ValidationError) as error:
        first = str(error).splitlines()[0].rstrip(":")
        raise WeightsFileError(f"{path} is not a model that this version can use ({first})") from None
