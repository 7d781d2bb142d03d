"""The real engines: Flower's simulation through `condi run`, and processes over gRPC."""

import numpy as np
import pytest
from safetensors.numpy import load_file

from tests.helpers.condi_process import processes_left, run_condi
from tests.helpers.run_settings import as_pairs, without_paths
from tests.helpers.tiny_federation import write_tiny


def assert_close(first, second):
    assert first.keys() == second.keys()
    for name in first:
        np.testing.assert_allclose(first[name], second[name], rtol=1e-5, atol=1e-6, err_msg=name)


@pytest.fixture
def small(small_settings):
    """Settings of a small run, without those of paths."""
    return without_paths(small_settings({"compare-with": "mask"}))


@pytest.mark.engine
def test_both_phases_in_simulation(federation, run_local, small, tmp_path):
    completed = run_condi(
        "run", "--federation", federation, "--out", "runs", "--name", "engine",
        "-c", as_pairs(small), "--nodes", 2,
        cwd=tmp_path,
    )  # fmt: skip
    assert completed.returncode == 0, completed.stderr + completed.stdout
    directory = tmp_path / "runs" / "engine"
    for text in (
        "site-0",
        "imputer      round  2/2",
        "task-mask",
        "linear interpolation",
        f"Artefacts: {directory}",
    ):
        assert text in completed.stdout
    local, _ = run_local(federation, {"compare-with": "mask", "name": "local"})
    for model in ("imputer", "task-condi", "task-mask"):
        assert_close(*(load_file(d / f"{model}.safetensors") for d in (directory, local.path)))
    assert not processes_left(tmp_path)
    # Without other options a run resumes with its own settings and federation; only the test is left here.
    again = run_condi("run", "--resume", "runs/engine", cwd=tmp_path)
    assert again.returncode == 0, again.stderr + again.stdout
    assert again.stdout.split("Imputation of")[1] == completed.stdout.split("Imputation of")[1]


@pytest.mark.engine
def test_secure_aggregation_in_simulation(run_local, small, tmp_path):
    federation = write_tiny(tmp_path / "complete")  # of which nothing is withheld
    settings = small | {"secure-aggregation": True, "averaging": "mean", "compare-with": ""}
    completed = run_condi(
        "run", "--federation", federation, "--out", "runs", "--name", "secure",
        "-c", as_pairs(settings), "--nodes", 3,
        cwd=tmp_path,
    )  # fmt: skip
    assert completed.returncode == 0, completed.stderr + completed.stdout
    plain, _ = run_local(federation, {"name": "plain"})
    secure = load_file(tmp_path / "runs" / "secure" / "imputer.safetensors")
    for name, array in load_file(plain.path / "imputer.safetensors").items():
        np.testing.assert_allclose(secure[name], array, atol=1e-3, err_msg=name)


@pytest.mark.engine
def test_a_run_in_surroundings_that_would_break_flower_or_ray(federation, run_local, small, tmp_path):
    temporary = tmp_path / "zwei Wörter"
    temporary.mkdir()
    surroundings = {
        "TMPDIR": str(temporary),
        "ALL_PROXY": "socks5://127.0.0.1:9",
        "HTTPS_PROXY": "http://127.0.0.1:9",
        "MPLBACKEND": "module://a_notebook.backend",
        "HOME": "/proc/nobody",  # not even root can write there
        "CONDI_CACHE": str(tmp_path / "cache"),
    }
    completed = run_condi(
        "run", "--federation", federation, "--out", "runs", "--name", "odd",
        "-c", as_pairs(small), "--nodes", 2,
        cwd=tmp_path, variables=surroundings,
    )  # fmt: skip
    assert completed.returncode == 0, completed.stderr + completed.stdout
    assert "Traceback" not in completed.stdout + completed.stderr
    local, _ = run_local(federation, {"compare-with": "mask", "name": "usual"})
    assert_close(*(load_file(d / "task-condi.safetensors") for d in (tmp_path / "runs" / "odd", local.path)))
    assert not processes_left(tmp_path) and not list(temporary.iterdir())


@pytest.mark.engine
def test_a_failed_run_gives_its_reason_in_one_sentence(tmp_path, small):
    path = write_tiny(tmp_path / "federation", sites=2)
    (tmp_path / "runs" / "taken" / "notes").mkdir(parents=True)
    options = ("--name", "taken", "-c", as_pairs(small))
    completed = run_condi("run", "--federation", path, *options, cwd=tmp_path)
    assert completed.returncode == 1
    assert completed.stderr.count("runs/taken exists: choose another name") == 1
    assert "Traceback" not in completed.stdout + completed.stderr
    assert not processes_left(tmp_path)


def test_settings_are_refused_before_anything_starts(tmp_path):
    completed = run_condi("run", "-c", "imputer.step=3 task.round=2 methods=1", cwd=tmp_path)
    assert completed.returncode == 2
    assert all(
        f"(did you mean '{key}'?)" in completed.stderr for key in ("imputer.steps", "task.rounds", "method")
    )
    completed = run_condi("run", "--federation", "nowhere", cwd=tmp_path)
    assert completed.returncode == 2 and "nowhere" in completed.stderr
    assert list(tmp_path.iterdir()) == []
