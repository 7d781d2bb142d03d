"""Read the sums of scores that a run directory holds, by phase, site and name."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from pathlib import Path

import numpy as np
from safetensors import SafetensorError, safe_open

from condi_core.averaging import Arrays
from condi_core.evaluation.classification import score_histograms
from condi_core.run_files import RunFileError, weights_paths
from condi_core.windows import Schema
from server_app.artifacts import scores


def read_sums(run: Path, schema: Schema, split: str) -> dict[str, dict[str, Arrays]]:
    """Read the sums of the scores on windows of a split, which the sites sent.

    Parameters
    ----------
    run : Path
        The run directory.
    schema : Schema
        Schema of the run's windows.
    split : str
        "test", or "val" for the scores by which weights were selected.

    Returns
    -------
    dict
        Sums by phase, site and name; of phases that have been scored.

    Raises
    ------
    RunFileError
        A file is damaged.
    """
    sums: dict[str, dict[str, Arrays]] = {}
    for file in sorted(weights_paths(run, f"{split}-")):
        phase = file.stem.removeprefix(f"{split}-")
        evaluation = scores.imputation_evaluation if phase.startswith("imputer") else scores.task_evaluation
        shapes = evaluation(schema).shapes(split, 1)
        # The file has the names in alphabetical order; sums are added up in the order of the evaluation.
        positions = {name: position for position, name in enumerate(shapes)}
        with open_arrays(file) as opened:
            for key in sorted(opened.keys(), key=lambda k: positions.get(_sum_name(k, shapes), -1)):
                name = _sum_name(key, shapes)
                site, array = key.removesuffix(f"/{name}"), opened.get_tensor(key)
                if array.shape != shapes.get(name):
                    raise RunFileError(f"{file} is damaged ({key} is {array.shape})")
                sums.setdefault(phase, {}).setdefault(site, {})[name] = array
    return sums


def read_replicates_of_sites(run: Path) -> dict[str, Arrays]:
    """Read the replicates of the test sums by phase and site; RunFileError when a file is damaged."""
    replicates: dict[str, Arrays] = {}
    for file in sorted(weights_paths(run, "replicates-")):
        with open_arrays(file) as opened:
            arrays = {site: opened.get_tensor(site) for site in opened.keys()}  # noqa: SIM118 - not a dict
        replicates[file.stem.removeprefix("replicates-")] = arrays
    return replicates


def open_arrays(file: Path) -> safe_open:
    """Open a file of arrays; RunFileError when it is damaged."""
    try:
        return safe_open(file, "np")
    except (SafetensorError, OSError) as error:
        raise RunFileError(f"{file} is damaged ({error})") from None


def sum_over_sites(by_site: Mapping[str, Arrays]) -> Arrays:
    """Add up the sums of all sites."""
    total: Arrays = {}
    for arrays in by_site.values():
        for name, array in arrays.items():
            total[name] = total.get(name, 0) + array
    return total


def histograms(sums: Arrays, label: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the score histograms of a label's positives and negatives."""
    return score_histograms(sums["task"])[label]


def _sum_name(key: str, names: Collection[str]) -> str:
    """Return the name in `<site>/<name>`; both parts may contain a slash."""
    return next((name for name in names if key.endswith(f"/{name}")), "")
