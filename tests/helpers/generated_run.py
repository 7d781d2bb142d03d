"""A run directory with random weights, which is enough to test what uses trained models."""

import json
from pathlib import Path

import torch

from condi_core.config import RunConfig
from condi_core.imputer.imputer import DiffusionImputer
from condi_core.task.model import TaskModel
from condi_core.weights_file import hash_arrays, weights_to_bytes
from condi_core.windows import Schema
from tests.helpers.run_settings import flat_defaults

SMALL = {"width": 16, "heads": 2, "blocks": 1, "pair-width": 4}


def config(**changes) -> RunConfig:
    """Return the default settings with small networks."""
    small = {f"{phase}.{key}": value for phase in ("imputer", "task") for key, value in SMALL.items()}
    return RunConfig.from_flat(flat_defaults() | small | changes)


def schema(rates=(10, 10, 10), patches=20, patch_seconds=0.1, names=("I", "II", "V1"), unit="mV") -> Schema:
    modalities = [
        {"name": n, "unit": unit, "samples_per_patch": r} for n, r in zip(names, rates, strict=True)
    ]
    return Schema(
        dataset="generated",
        modalities=modalities,
        patch_seconds=patch_seconds,
        patches=patches,
        labels=("well", "ill"),
        task="multi-label",
    )


def write_run(path: Path, run_schema: Schema, methods=("condi", "mask"), seed=0, **changes) -> Path:
    """Write the directory of a run with these `methods` and random weights."""
    settings = config(**changes)
    metadata: dict[str, dict[str, str]] = {}
    torch.manual_seed(seed)
    path.mkdir(parents=True)
    weights = {}
    if "condi" in methods:
        weights["imputer"] = _arrays(DiffusionImputer(run_schema, settings.imputer))
        metadata["imputer"] = {"settings": settings.imputer.model_dump_json(by_alias=True)}
    for method in methods:
        weights[f"task-{method}"] = _arrays(TaskModel(run_schema, settings.task))
        metadata[f"task-{method}"] = {
            "settings": settings.task.model_dump_json(by_alias=True),
            "method": method,
            "imputer": hash_arrays(weights["imputer"]) if method == "condi" else "",
        }
    for name, arrays in weights.items():
        content = weights_to_bytes(arrays, metadata[name] | {"schema": run_schema.model_dump_json()})
        (path / f"{name}.safetensors").write_bytes(content)
    (path / "config.json").write_text(json.dumps(settings.flat() | {"method": methods[0]}))
    (path / "roster.json").write_text("{}")
    return path


def _arrays(model: torch.nn.Module) -> dict:
    with torch.no_grad():
        for parameter in model.parameters():  # so that no weight is zero
            parameter += 0.1 * torch.randn(parameter.shape)
    return {name: t.detach().numpy().copy() for name, t in model.state_dict().items()}
