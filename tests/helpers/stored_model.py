"""Models of released versions with their results, which later versions must load and reproduce.

    python -m tests.helpers.stored_model

stores those of the version that is installed, from a run of seconds on synthetic windows.
"""

from __future__ import annotations

import shutil
import tempfile
from importlib import metadata
from pathlib import Path

import numpy as np

from condi_core import load_model
from tests.helpers.finished_runs import run_in
from tests.helpers.run_settings import small_run_settings
from tests.helpers.tiny_federation import write_tiny

STORED_MODELS = Path(__file__).parents[1] / "stored_models"
RESULTS_FILE = "results.npz"
MODEL_FILES = ("imputer.safetensors", "task-condi.safetensors", "task-mask.safetensors")
DRAWS = 4


def compute_results(model_folder: Path, values: np.ndarray) -> dict[str, np.ndarray]:
    """Return what a stored model makes of windows.

    Parameters
    ----------
    model_folder : Path
    values : array (batch, modality, patch, sample)
        NaN where nothing was observed.

    Returns
    -------
    dict of str to array
        Point estimates, draws, and the predictions of each method.
    """
    model = load_model(model_folder)
    completed = model.impute(values, samples=DRAWS)
    results = {"point": completed.point, "draws": completed.draws}
    for method in model.classifiers:
        results[f"prediction-{method}"] = model.predict(values, samples=DRAWS, method=method).values
    return results


def store_model(folder: Path) -> None:
    """Train a small model, and store it in a new folder with windows and its results on them."""
    with tempfile.TemporaryDirectory() as scratch:
        federation = write_tiny(Path(scratch) / "federation", sites=2)
        run = run_in(Path(scratch), federation, small_run_settings({"compare-with": "mask"}))
        folder.mkdir(parents=True)
        for name in MODEL_FILES:
            shutil.copyfile(run / name, folder / name)
    shape = load_model(folder).schema.shape
    rng = np.random.default_rng(0)
    values = rng.normal(size=(3, *shape)).astype(np.float32)
    values[rng.random(values.shape) < 0.4] = np.nan
    np.savez_compressed(folder / RESULTS_FILE, values=values, **compute_results(folder, values))


if __name__ == "__main__":
    store_model(STORED_MODELS / metadata.version("condi"))
