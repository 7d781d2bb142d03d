"""CondI installed from its wheel, outside a checkout, with a method of another package."""

from __future__ import annotations

import json
import shlex
from importlib.metadata import version

import pytest

from condi_core.run_files import read_versions
from condi_core.weights_file import WeightsFileError, load_task, read_weights
from server_app.operations.run_config import read_run_config
from tests.helpers.documents import read_blocks
from tests.helpers.run_settings import PROJECT, as_pairs, without_paths
from tests.helpers.tiny_federation import write_tiny
from tests.helpers.wheels import build_condi_wheel, build_example_wheel, make_environment, run_program

pytestmark = [pytest.mark.engine, pytest.mark.slow]

STUDY = """
methods = ["tempered"]
seeds = [0]
[data.waves]
federation = "federation"
[settings]
"""


@pytest.fixture(scope="module")
def condi(tmp_path_factory):
    """The program `condi` of an environment with CondI's wheel and that of the example of a method."""
    folder = tmp_path_factory.mktemp("wheel")
    wheels = build_condi_wheel(folder), build_example_wheel(folder)
    return make_environment(folder / "venv", *wheels) / "condi"


def test_a_run_and_a_study_complete_outside_a_checkout(condi, tmp_path, small_settings):
    python = condi.with_name("python")
    place = run_program(python, "-c", "import server_app; print(server_app.__file__)", cwd=tmp_path)
    assert place.stdout.startswith(str(condi.parents[1])), place.stderr
    assert run_program(condi, "--version", cwd=tmp_path).stdout == f"condi {version('condi')}\n"

    write_tiny(tmp_path / "federation", sites=2)
    (block,) = read_blocks(PROJECT / "docs" / "how-to" / "own-method.md", "bash")
    documented = read_run_config([shlex.split(block.text)[-1]])  # which use `mask`, without an imputer
    small = without_paths(small_settings({"sites-timeout": 120.0} | documented | {"method": "condi"}))
    nodes = ("--nodes", 2, "--cache", tmp_path / "cache")
    completed = run_program(
        condi, "run", "--federation", "federation", "--name", "first", "-c", as_pairs(small), *nodes,
        cwd=tmp_path,
    )  # fmt: skip
    assert completed.returncode == 0, completed.stdout + completed.stderr
    result = json.loads((tmp_path / "runs" / "first" / "result.json").read_text())
    assert result["task"].keys() == {"condi", "tempered"}
    assert "the method tempered is that of the package tempered-fedavg 1.0" in completed.stdout
    assert read_versions(tmp_path / "runs" / "first")["tempered-fedavg"] == "1.0"
    model = tmp_path / "runs" / "first" / "task-tempered.safetensors"
    assert read_weights(model)[1]["package"] == "tempered-fedavg 1.0"
    with pytest.raises(WeightsFileError, match="install tempered-fedavg 1.0"):
        load_task(model)  # here, where it is not installed

    lines = [f"{key} = {json.dumps(small[key])}" for key in small if key.startswith(("imputer.", "task."))]
    lines = [line for line in lines if "learning-rate" not in line]
    (tmp_path / "study.toml").write_text(STUDY + "\n".join(["min-sites = 1", *lines]))
    completed = run_program(condi, "study", "study.toml", "--nodes", 2, cwd=tmp_path)
    assert completed.returncode == 0, completed.stdout + completed.stderr
    assert (tmp_path / "studies" / "study" / "cells.csv").read_text().count("\n") == 2
