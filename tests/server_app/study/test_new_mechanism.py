"""A new missingness mechanism needs two files: that of its family, and pyproject.toml."""

import json
import shutil
import subprocess
import sys

from tests.helpers.run_settings import PROJECT

MECHANISM = '''

def mask_lead_in(window, settings, rng):
    """Hide the first part of each window in all modalities."""
    return np.arange(window.patches)[:, None] < np.full(
        window.observed.shape, settings["lead-in"] * window.patches
    )


LEAD_IN = Mechanism(
    share("lead-in", "p_w: fraction of time hidden at the start"), mask_lead_in, stream="lead-in"
)
STRETCH_MECHANISMS += (LEAD_IN,)
'''
DEFAULT = "lead-in = 0.0  # p_w: fraction of time hidden at the start\n"
TABLE_HEADER = "[tool.flwr.app.config.missingness]"
SCRIPT = """
import json
import numpy as np
from condi_core.missingness import Missingness, missingness_mask
from server_app.operations.run_config import default_settings
from server_app.settings import validate_settings
from server_app.study.design import read_study
from server_app.study.results import expected_missing_fraction

study = read_study({
    "methods": ["mask"],
    "seeds": [0],
    "data": {"demo": {"dataset": "demo"}},
    "missingness": {"points": 0.5, "lead-in": [0.25, 0.0]},
    "test-missingness": ["lead-in=0.75"],
})
config = validate_settings(study.run_settings(study.scenarios[0], seed=0))
hidden = missingness_mask(
    None, np.ones((3, 20, 10), bool), Missingness(lead_in=0.25), seed=0, record_id="a"
)
print(json.dumps({
    "default": default_settings()["missingness.lead-in"],
    "configured": config.flat()["missingness.lead-in"],
    "scenarios": [scenario.missingness_label for scenario in study.scenarios],
    "shares": [expected_missing_fraction(config, split, [10, 10]) for split in ("train", "test")],
    "hidden patches": np.flatnonzero(hidden.all((0, 2))).tolist(),
    "hidden share": hidden.mean(),
}))
"""


def test_a_mechanism_of_two_files_has_settings_study_keys_an_expected_share_and_masks(tmp_path):
    ignore_caches = shutil.ignore_patterns("__pycache__")
    for package in ("condi_core", "data_partitions", "server_app"):
        shutil.copytree(PROJECT / package, tmp_path / package, symlinks=True, ignore=ignore_caches)
    with open(tmp_path / "condi_core" / "missingness" / "stretches.py", "a") as family:
        family.write(MECHANISM)
    lines = (PROJECT / "pyproject.toml").read_text().splitlines(keepends=True)
    (header,) = (number for number, line in enumerate(lines) if line.startswith(TABLE_HEADER))
    lines.insert(header + 1, DEFAULT)
    (tmp_path / "pyproject.toml").write_text("".join(lines))
    (tmp_path / "script.py").write_text(SCRIPT)  # its folder comes first on the path of modules
    process = subprocess.run([sys.executable, "script.py"], cwd=tmp_path, capture_output=True, text=True)
    assert process.returncode == 0, process.stderr
    assert json.loads(process.stdout) == {
        "default": 0.0,
        "configured": 0.25,
        "scenarios": ["points=0.5 lead-in=0.25", "points=0.5"],
        "shares": [1 - 0.5 * 0.75, 1 - 0.5 * 0.25],
        "hidden patches": [0, 1, 2, 3, 4],
        "hidden share": 0.25,
    }
