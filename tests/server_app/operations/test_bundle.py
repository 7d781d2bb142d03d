"""What is sent to sites holds code and nothing else."""

import os
import subprocess
import sys
import zipfile
from pathlib import Path

from flwr.cli.build import build_fab_from_disk

from server_app.operations.app_folder import copy_app

PROJECT = Path(__file__).parents[3]


def test_the_bundle_has_the_four_packages_and_nothing_else(tmp_path):
    copy = tmp_path / "condi"
    files = subprocess.run(
        ["git", "ls-files"], cwd=PROJECT, capture_output=True, text=True, check=True
    ).stdout.split()
    for name in files:
        if not name.startswith("tests/"):
            (copy / name).parent.mkdir(parents=True, exist_ok=True)
            (copy / name).write_bytes((PROJECT / name).read_bytes())
    secret = copy / "data_partitions" / "patients.json"
    secret.write_text("{}")
    flwr = Path(sys.executable).with_name("flwr")
    env = os.environ | {"FLWR_HOME": str(tmp_path / "home"), "FLWR_TELEMETRY_ENABLED": "0"}
    subprocess.run([flwr, "build"], cwd=copy, env=env, check=True, capture_output=True)
    (bundle,) = copy.glob("*.fab")
    packages = ("server_app/", "client_app/", "condi_core/", "data_partitions/")
    sent = set(zipfile.ZipFile(bundle).namelist())
    code = {name for name in files if name.startswith(packages) and name.endswith(".py")}
    assert sent - code == {"pyproject.toml", "LICENSE", ".info/CONTENT"} and code <= sent


def test_the_bundle_of_the_installed_packages_is_that_of_the_checkout(tmp_path):
    assert build_fab_from_disk(copy_app(tmp_path)) == build_fab_from_disk(PROJECT)
