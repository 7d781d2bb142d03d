"""Find the cells of a study that have been computed.

A cell is one method in one run. Its key has every setting that its result depends on, so that a cell is found
in whichever run it was computed, and never computed twice.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from condi_core.config import UNTRAINED_SETTINGS
from condi_core.run_files import RESULT_FILE, RunFileError, read_config, read_result
from server_app.study.federations import short_hash
from server_app.study.variants import variant_in_run

# Settings that a cell's result does not depend on, or that its key has in another form.
IGNORED_SETTINGS = UNTRAINED_SETTINGS | {
    "method",
    "compare-with",
    "method-options",
    "task.learning-rate",
    "task.learning-rate-by-method",
}


def cell_key(settings: Mapping[str, Any], federation: str, method: str, rate: float) -> str:
    """Write everything that the result of a cell depends on as text.

    Parameters
    ----------
    settings : all settings of the run, in flat form
    federation : name of the federation's folder
    method, rate : the method with its options, and its learning rate
    """
    relevant = {key: value for key, value in settings.items() if key not in IGNORED_SETTINGS}
    return json.dumps([federation, method, float(rate), sorted(relevant.items())])


def completed_cells(runs: Path) -> dict[str, Path]:
    """Return the run folder of every computed cell below `runs`, by its key; damaged folders are skipped."""
    cells: dict[str, Path] = {}
    for result in sorted(runs.glob(f"*/{RESULT_FILE}")):
        try:
            methods = read_result(result.parent)["task"]
            config = read_config(result.parent)
        except (RunFileError, KeyError):
            continue
        # A federation that was prepared before has a name of the study, which is not that of its folder.
        federation, settings = result.parent.name.rpartition("-seed")[0], config.flat()
        for method in methods:
            variant = variant_in_run(method, config)
            key = cell_key(settings, federation, variant, config.task.learning_rate_for(method))
            cells[key] = result.parent
    return cells


def run_name(
    federation: str, settings: Mapping[str, Any], methods: Sequence[str], rates: Mapping[str, float]
) -> str:
    """Name the folder of a run: readable, and different for different runs."""
    parts_hash = short_hash(cell_key(settings, federation, "", 0.0), list(methods), dict(rates))
    return f"{federation}-seed{settings['seed']}-{parts_hash}"
