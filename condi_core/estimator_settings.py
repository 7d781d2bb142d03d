"""From the parameters of `Imputer` to the settings and the schema of phase 1."""

from __future__ import annotations

import json
from collections.abc import Mapping
from numbers import Integral
from typing import Any

import numpy as np
from pydantic import ValidationError

from condi_core.config import ConfigError
from condi_core.estimator_input import EstimatorInput, read_input
from condi_core.phase_config import ImputerConfig
from condi_core.settings_text import describe_error
from condi_core.windows import Schema

ESTIMATOR_KEY = "estimator"  # in the metadata of a file: parameters that are not settings of phase 1
MAX_PATCH, MIN_PATCHES = 10, 40  # of a patch that is chosen: its samples, and the patches of a window


def read_settings(parameters: Mapping[str, Any]) -> ImputerConfig:
    """Check the parameters that are settings of phase 1.

    Parameters
    ----------
    parameters : of `Imputer` by name; others are not read

    Raises
    ------
    ConfigError
        Parameters are not valid. The error has one sentence for each.
    """
    plain = {
        name.replace("_", "-"): value.item() if isinstance(value, np.generic) else value
        for name, value in parameters.items()
        if name in ImputerConfig.model_fields
    }
    try:
        return ImputerConfig.model_validate(plain | {"samples": 0})
    except ValidationError as error:
        complaints = []
        for e in error.errors():
            name = str(e["loc"][0])
            text = describe_error(e, "parameter", plain.get(name))
            complaints.append(text.replace(f"'{name}'", f"'{name.replace('-', '_')}'"))
        raise ConfigError(*complaints) from None


def write_parameters(
    parameters: Mapping[str, Any], config: ImputerConfig, schema: Schema, is_named: bool
) -> dict[str, str]:
    """Return the metadata of a file, from which `read_parameters` reads."""
    others = {name: parameters[name] for name in ("seed", "site", "patch")}
    return {
        "schema": schema.model_dump_json(),
        "settings": config.model_dump_json(by_alias=True),
        ESTIMATOR_KEY: json.dumps(others | {"named": is_named}, default=int),
    }


def read_parameters(metadata: Mapping[str, str], schema: Schema) -> tuple[dict[str, Any], bool]:
    """Read the parameters of `Imputer`, but its device, and whether its channels have names, from a file."""
    settings = {name.replace("-", "_"): value for name, value in json.loads(metadata["settings"]).items()}
    settings.pop("samples", None)
    of_run = json.dumps({"patch": schema.samples, "named": True})
    others = json.loads(metadata.get(ESTIMATOR_KEY, of_run))
    is_named = others.pop("named")
    return settings | others, is_named


def make_schema(windows: EstimatorInput, patch: int | None) -> Schema:
    """Make the schema of windows whose rates and units are not known.

    Parameters
    ----------
    windows : for training
    patch : samples per patch; None: the most, up to `MAX_PATCH`, that leave `MIN_PATCHES` patches

    Raises
    ------
    ConfigError
        `patch` is no positive integer, or windows cannot be divided into such patches.
    """
    channels, length = windows.values.shape[1:]
    if patch is None:
        divisors = [n for n in range(MAX_PATCH, 1, -1) if not length % n and length // n >= MIN_PATCHES]
        patch = divisors[0] if divisors else 1
    if not isinstance(patch, Integral) or isinstance(patch, bool) or patch < 1:
        raise ConfigError(f"parameter 'patch' must be a positive integer or None, got {patch!r}")
    if length % patch:
        raise ConfigError(f"parameter 'patch' must divide the {length} samples of a window, got {patch}")
    names = windows.names or tuple(f"channel {i}" for i in range(channels))
    return Schema.model_validate(
        {
            "dataset": "arrays" if windows.names is None else "data frames",
            "modalities": [{"name": name, "unit": "", "samples_per_patch": int(patch)} for name in names],
            "patch_seconds": float(patch),
            "patches": length // int(patch),
            "labels": (),
            "task": "none",
        }
    )


def read_windows_of(schema: Schema, x: Any, names: tuple[str, ...] | None) -> EstimatorInput:
    """Read X as `read_input` does; ValueError unless its windows have the shape of those for training."""
    windows = read_input(x, names)
    channels, patches, samples = schema.shape
    if windows.values.shape[1:] != (channels, patches * samples):
        raise ValueError(
            f"expected windows ({channels}, {patches * samples}) of (channel, time) as those for training, "
            f"got {windows.values.shape[1:]}: give the same channels, and cut windows or fill up with NaN"
        )
    return windows
