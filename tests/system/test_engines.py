"""The real engines: Flower's simulation through `condi run`, and processes over gRPC."""

import numpy as np
import pytest
from safetensors.numpy import load_file

from tests.helpers.condi_process import processes_left, run_condi
from tests.helpers.run_settings import as_pairs, without_paths
from tests.helpers.tiny_federation import write_tiny


def assert_close(one, two):
    assert one.keys() == two.keys()
    for name in one:
        np.testing.assert_allclose(one[name], two[name], rtol=1e-5, atol=1e-6, err_msg=name)


@pytest.fixture
def small(small_settings):
    """Settings without those that name places."""
    return without_paths(small_settings({"compare-with": "mask"}))


@pytest.mark.engine
def test_both_phases_in_simulation(federation, run_local, small, tmp_path):
    done = run_condi(
        "run", "--federation", federation, "--out", "runs", "--name", "engine",
        "-c", as_pairs(small), "--nodes", 2,
        cwd=tmp_path,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr + done.stdout
    directory = tmp_path / "runs" / "engine"
    for said in (
        "site-0",
        "imputer      round  2/2",
        "task-mask",
        "linear interpolation",
        f"Artefacts: {directory}",
    ):
        assert said in done.stdout
    local, _ = run_local(federation, {"compare-with": "mask", "name": "local"})
    for model in ("imputer", "task-condi", "task-mask"):
        assert_close(*(load_file(d / f"{model}.safetensors") for d in (directory, local.path)))
    assert not processes_left(tmp_path)
    # With nothing else said it goes on with its own settings and federation: here only to the test scores.
    again = run_condi("run", "--resume", "runs/engine", cwd=tmp_path)
    assert again.returncode == 0, again.stderr + again.stdout
    assert again.stdout.split("Imputation of")[1] == done.stdout.split("Imputation of")[1]


@pytest.mark.engine
def test_secure_aggregation_in_simulation(federation, run_local, small, tmp_path):
    settings = small | {"secure-aggregation": True, "compare-with": ""}
    done = run_condi(
        "run", "--federation", federation, "--out", "runs", "--name", "secure",
        "-c", as_pairs(settings), "--nodes", 3,
        cwd=tmp_path,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr + done.stdout
    plain, _ = run_local(federation, {"name": "plain"})
    secure = load_file(tmp_path / "runs" / "secure" / "imputer.safetensors")
    for name, array in load_file(plain.path / "imputer.safetensors").items():
        np.testing.assert_allclose(secure[name], array, atol=1e-3, err_msg=name)


@pytest.mark.engine
def test_a_run_that_fails_says_why_in_a_sentence(tmp_path, small):
    path = write_tiny(tmp_path / "federation", sites=2)
    done = run_condi("run", "--federation", path, "-c", as_pairs(small | {"min-sites": 3}), cwd=tmp_path)
    assert done.returncode == 1
    assert "expected at least 3 sites within 5 s, but 2 connected" in done.stderr
    assert "Traceback" not in done.stdout + done.stderr
    assert not processes_left(tmp_path)


def test_settings_are_refused_before_anything_starts(tmp_path):
    done = run_condi("run", "-c", "imputer.step=3 task.round=2 methods=1", cwd=tmp_path)
    assert done.returncode == 2
    assert all(
        f"(did you mean '{key}'?)" in done.stderr for key in ("imputer.steps", "task.rounds", "method")
    )
    done = run_condi("run", "--federation", "nowhere", cwd=tmp_path)
    assert done.returncode == 2 and "nowhere" in done.stderr
    assert list(tmp_path.iterdir()) == []
