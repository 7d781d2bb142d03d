"""Load a trained run from its files."""

from __future__ import annotations

from pathlib import Path

import torch

from condi_core.imputer.imputer import DiffusionImputer
from condi_core.model import Classifier, TrainedRun
from condi_core.run_files import RunFileError, read_config, weights_paths
from condi_core.weights_file import WeightsFileError, hash_arrays, load_imputer, load_task, method_of
from condi_core.windows import Schema


def load_model(run: str | Path, device: str | torch.device = "cpu", site: str = "") -> TrainedRun:
    """Load what a run has trained.

    Each file of weights is checked against its hash, and nothing in it is executed.

    Parameters
    ----------
    run : the run directory
    device : where the models are put
    site : the site whose models are loaded, for methods that train one model per site; "" excludes the models
        of single sites

    Returns
    -------
    TrainedRun

    Raises
    ------
    WeightsFileError
        There is no run, it has no models, or they cannot be used.
    """
    run = Path(run)
    if not run.is_dir():
        raise WeightsFileError(f"there is no run at {run}: give the folder of a run")
    imputers: dict[str, DiffusionImputer] = {}
    schemas: list[Schema] = []
    for file in _weights_files(run, "imputer", site):
        loaded, schema = load_imputer(file)
        weights = {name: tensor.numpy() for name, tensor in loaded.state_dict().items()}
        imputers[hash_arrays(weights)] = loaded.to(device)
        schemas.append(schema)
    classifiers: dict[str, Classifier] = {}
    for file in _weights_files(run, "task", site):
        task, schema, config, metadata = load_task(file)
        method = method_of(file, metadata)
        if (method.complete or metadata["imputer"]) and metadata["imputer"] not in imputers:
            raise WeightsFileError(
                f"{file} was not trained with the imputer in the same folder: copy both from one run"
            )
        completions = config.completions if method.imputer_training == "diffusion" else 0
        classifiers[method.name] = Classifier(
            method, task.to(device), imputers.get(metadata["imputer"]), completions
        )
        schemas.append(schema)
    if not schemas:
        if weights_paths(run, "task-"):
            raise WeightsFileError(
                f"{run} holds only models of single sites: name the site, or give its partition"
            )
        raise WeightsFileError(f"{run} holds no model: give the folder of a finished run")
    if any(schema != schemas[0] for schema in schemas):
        raise WeightsFileError(f"{run} holds models of different data: copy all from one run")
    name = _method_name(run)
    imputer = _select_imputer(imputers, classifiers, name)
    imputer_hash = next((key for key, other in imputers.items() if other is imputer), "")
    return TrainedRun(schemas[0], imputer, imputer_hash, classifiers, name, torch.device(device))


def _select_imputer(
    imputers: dict[str, DiffusionImputer], classifiers: dict[str, Classifier], method: str
) -> DiffusionImputer | None:
    """Choose the imputer of the run's method, else that of the first method with a trained one."""
    if not classifiers:
        return next(iter(imputers.values()), None)
    in_order = [classifiers[method]] if method in classifiers else []
    in_order += classifiers.values()
    # A method that trains only the relation leaves the network untrained.
    trained = [c.imputer for c in in_order if c.method.imputer_training == "diffusion"]
    return next(iter(trained), None)


def _weights_files(run: Path, model: str, site: str) -> list[Path]:
    """Return files such as `imputer.safetensors`, and the site's `task-local.<site>.safetensors`."""
    return [path for path, of_site in weights_paths(run, model).items() if of_site in ("", site)]


def _method_name(run: Path) -> str:
    """Return the method that the run was about."""
    try:
        return read_config(run).method
    except RunFileError:
        return "condi"
