"""CondI's method: imputer, task model, training and evaluation.

`Imputer` fits and completes arrays and data frames as scikit-learn's transformers do. `load_model` loads the
models that a run has trained, and `load_run` all that its directory holds. Names are imported when
they are first used, because torch takes seconds to import and much of this package works without it.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from condi_core.config import ConfigError, RunConfig
    from condi_core.estimator import Imputer
    from condi_core.loaded_run import LoadedRun, load_run
    from condi_core.loading import load_model
    from condi_core.methods import METHOD_NAMES
    from condi_core.model import TrainedRun
    from condi_core.outputs import Imputation, Prediction
    from condi_core.weights_file import WeightsFileError
    from condi_core.windows import Schema

_HOMES = {
    "ConfigError": "config",
    "Imputation": "outputs",
    "Imputer": "estimator",
    "LoadedRun": "loaded_run",
    "METHOD_NAMES": "methods",
    "Prediction": "outputs",
    "RunConfig": "config",
    "Schema": "windows",
    "TrainedRun": "model",
    "WeightsFileError": "weights_file",
    "load_model": "loading",
    "load_run": "loaded_run",
}

__all__ = [
    "METHOD_NAMES",
    "ConfigError",
    "Imputation",
    "Imputer",
    "LoadedRun",
    "Prediction",
    "RunConfig",
    "Schema",
    "TrainedRun",
    "WeightsFileError",
    "load_model",
    "load_run",
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module '{__name__}' has no attribute '{name}'")
    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
