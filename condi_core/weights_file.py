"""Read and write the weights files of a run. Their format, safetensors, holds arrays and text, never code.

The metadata of a file has a hash of all its content, so that a damaged or altered file is noticed.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import torch
from pydantic import ValidationError
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save

from condi_core.config import ConfigError, ImputerConfig, TaskConfig
from condi_core.imputer.imputer import DiffusionImputer
from condi_core.methods import METHODS, Method
from condi_core.settings_text import describe_error
from condi_core.task.model import TaskModel
from condi_core.windows import Schema

CHECKSUM_KEY = "sha256"  # in the metadata


class WeightsFileError(ValueError):
    """A weights file cannot be used; the message says why."""


def state_arrays(model: torch.nn.Module) -> dict[str, np.ndarray]:
    """Return a copy of a model's weights and buffers as named arrays."""
    return {name: np.array(tensor.detach().cpu().numpy()) for name, tensor in model.state_dict().items()}


def hash_arrays(arrays: Mapping[str, np.ndarray], metadata: Mapping[str, str] | None = None) -> str:
    """Hash named arrays and texts, independent of their order."""
    digest = hashlib.sha256()
    for name in sorted(arrays):
        array = np.ascontiguousarray(arrays[name])
        digest.update(f"{name} {array.dtype} {array.shape}\n".encode() + array.tobytes())
    texts = metadata or {}
    for name in sorted(texts):
        text = texts[name].encode()
        digest.update(f"{name} {len(text)}\n".encode() + text)
    return digest.hexdigest()


def weights_to_bytes(arrays: Mapping[str, np.ndarray], metadata: Mapping[str, str]) -> bytes:
    """Return the content of a weights file, with the metadata that is needed to use the weights."""
    contiguous = {name: np.ascontiguousarray(array) for name, array in arrays.items()}
    return save(contiguous, metadata={**metadata, CHECKSUM_KEY: hash_arrays(contiguous, metadata)})


def read_weights(path: Path) -> tuple[dict[str, np.ndarray], dict[str, str]]:
    """Read the arrays and the metadata of a weights file.

    Raises
    ------
    WeightsFileError
        The file is missing, damaged or altered.
    """
    try:
        with safe_open(path, "np") as file:
            metadata = file.metadata() or {}
            arrays = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - not a dict
    except FileNotFoundError:
        raise WeightsFileError(
            f"there is no {path.name} in {path.parent}: give the folder of a run"
        ) from None
    except (SafetensorError, OSError, TypeError, AttributeError) as error:  # the last two: types unknown here
        reason = str(error).splitlines()[0]
        raise WeightsFileError(f"{path} holds no weights, or is damaged ({reason}): copy it again") from None
    checksum = metadata.pop(CHECKSUM_KEY, None)
    if checksum is None:
        raise WeightsFileError(
            f"{path} has no {CHECKSUM_KEY} of its content: it is not a model of this version"
        )
    if checksum != hash_arrays(arrays, metadata):
        raise WeightsFileError(
            f"{path} was altered or damaged after it was written: copy it again from the run"
        )
    return arrays, metadata


def load_imputer(path: str | Path) -> tuple[DiffusionImputer, Schema]:
    """Load an imputer in evaluation mode.

    Parameters
    ----------
    path : the weights file

    Returns
    -------
    model : DiffusionImputer
    schema : Schema of its windows

    Raises
    ------
    WeightsFileError
        The file is missing, damaged or altered, or holds another model.
    """
    arrays, metadata = read_weights(Path(path))
    with require_compatible(path):
        schema = Schema.model_validate_json(metadata["schema"])
        make = method_of(path, metadata).imputer if "method" in metadata else DiffusionImputer
        model = make(schema, ImputerConfig.model_validate_json(metadata["settings"]))
        _load_arrays(model, arrays)
    return model.eval(), schema


def load_task(path: str | Path) -> tuple[TaskModel, Schema, TaskConfig, dict[str, str]]:
    """Load a task model in evaluation mode.

    Parameters
    ----------
    path : the weights file

    Returns
    -------
    model : TaskModel
    schema : Schema of its windows
    config : TaskConfig, its settings
    metadata : of the file: among others `method`, the name of the method, and `imputer`, the hash of the
        imputer that completes the windows, or ""

    Raises
    ------
    WeightsFileError
        The file is missing, damaged or altered, or holds another model.
    """
    arrays, metadata = read_weights(Path(path))
    with require_compatible(path):
        schema = Schema.model_validate_json(metadata["schema"])
        config = TaskConfig.model_validate_json(metadata["settings"])
        if "imputer" not in metadata:
            raise KeyError("imputer")
        model = method_of(path, metadata).model(schema, config)
        _load_arrays(model, arrays)
    return model.eval(), schema, config, metadata


def method_of(path: str | Path, metadata: Mapping[str, str]) -> Method:
    """Return the method that has trained a model, with the options it had; `metadata` is that of its file."""
    if metadata["method"] not in METHODS:
        raise WeightsFileError(
            f"{path} has a model of the method '{metadata['method']}', which is not installed here: "
            f"install {metadata.get('package', 'the version of CondI that has trained it')}"
        )
    try:
        options = dict(json.loads(metadata.get("options", "{}")))
    except (TypeError, ValueError):
        raise WeightsFileError(
            f"{path} has no readable options of its method, got {metadata['options']!r}: train it again"
        ) from None
    return METHODS[metadata["method"]].with_options(options)


def _load_arrays(model: torch.nn.Module, arrays: Mapping[str, np.ndarray]) -> None:
    model.load_state_dict({name: torch.from_numpy(array.copy()) for name, array in arrays.items()})


@contextmanager
def require_compatible(path: str | Path) -> Iterator[None]:
    """Turn the errors of an undamaged file that holds another model into a WeightsFileError."""
    try:
        yield
    except WeightsFileError:
        raise
    except (ArithmeticError, AttributeError, LookupError, RuntimeError, TypeError, ValueError) as error:
        if isinstance(error, ValidationError):
            reason = describe_error(error.errors()[0], "setting")
        elif isinstance(error, KeyError):
            reason = f"it has no {error.args[0]}"
        elif isinstance(error, ConfigError):
            reason = str(error)
        else:
            reason = "its weights or metadata are not those that its settings state"
        raise WeightsFileError(
            f"{path} is not a model that this version can use ({reason}): use the version that trained it, "
            "which the run's versions.json names, or train it again"
        ) from None
