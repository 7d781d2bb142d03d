"""Faults of sites and of the coordinator, tried on processes over gRPC with TLS and registered sites."""

import json
import os
import subprocess
import time
from pathlib import Path

import numpy as np
import pytest
from cable import cable
from hospitals import coordinator, hospitals, wait_for
from safetensors.numpy import load_file
from tiny_federation import write_tiny

pytestmark = pytest.mark.deployment

FAULTS = str(Path(__file__).with_name("faults"))


def as_pairs(settings):
    return " ".join(f"{key}={json.dumps(value)}" for key, value in settings.items())


def history(run):
    return [json.loads(line) for line in (run / "history.jsonl").read_text().splitlines()]


@pytest.fixture
def settings(small_settings, tmp_path):
    """`settings(**changes)`: pairs for a run in `tmp_path / "runs"`; double underscores for dots."""

    def make(**changes):
        given = small_settings({k.replace("__", ".").replace("_", "-"): v for k, v in changes.items()})
        return as_pairs(given | {"output": str(tmp_path / "runs"), "federation": ""})

    return make


@pytest.mark.timeout(900)
def test_a_run_survives_sites_that_die_hang_lie_or_are_cut_off(tmp_path, settings):
    """Four hospitals, four rounds: in the first one is killed and one hangs, in the second three answer
    garbage, in the third one is cut off for half a minute; in the fourth all are there again."""
    federation = write_tiny(tmp_path / "federation", sites=4)
    sites = [f"site-{i}" for i in range(4)]
    faults = [
        {"train.task 2": "huge"},
        {"train.task 1": "hang", "train.task 2": "nan"},
        {"train.task 1": "hang", "train.task 2": "shapes"},
        {},
    ]
    with coordinator(tmp_path / "keys", sites) as made, cable(int(made.fleet.split(":")[1])) as cut:
        direct = made.fleet

        def start(i):
            made.fleet = f"localhost:{cut.port}" if i == 3 else direct
            environment = {"CONDI_FAULTS": json.dumps(faults[i]), "PYTHONPATH": FAULTS}
            return made.start(sites[i], federation / sites[i], **environment)

        for i, site in enumerate(sites):
            made.register(site)
            start(i)
        wait_for(lambda: made.online() == set(sites), *(site.log_path for site in made.started))
        run = made.run(
            settings(
                method="mask", task__rounds=4, min_sites=1, sites=",".join(sites),
                round_timeout=75.0, sites_timeout=60.0, name="faults",
            )
        )  # fmt: skip
        directory = tmp_path / "runs" / "faults"

        def rounds():
            return len(history(directory)) if (directory / "history.jsonl").exists() else 0

        hanging = made.started[2]
        wait_for(lambda: "hangs" in hanging.log, hanging.log_path, seconds=120)
        hanging.kill()
        # As a service manager does: a node with this key is refused until it is known to be offline.
        again = start(2)
        while rounds() < 2:
            if again.process.poll() is not None:
                again = start(2)
            assert made.sandbox.status(run)[0] == "running", made.log(run)
            time.sleep(2)
        cut.pull()
        time.sleep(30)
        cut.plug()
        status, log, hung = made.wait(run, 400), made.log(run), made.started[1].log
    assert status == "finished:completed", log
    first, second, third, fourth = (line["failures"] for line in history(directory))
    assert set(first) & set(sites) == {"site-1", "site-2"}
    assert "gave up after 75 s" in hung
    assert "refused: " in second["site-0"] and "beyond 1e+06" in second["site-0"]
    assert "not finite" in second["site-1"] and "expected float32" in second["site-2"]
    assert set(third) <= {"site-3", "site-3 (evaluation)"}
    assert fourth == {}
    weights = load_file(directory / "task-mask.safetensors")
    assert all(np.isfinite(array).all() for array in weights.values())


@pytest.mark.timeout(900)
def test_both_phases_with_the_coordinator_killed_in_each(tmp_path, settings, run_local, monkeypatch):
    """The ServerApp dies in phase 1, the SuperLink in phase 2; the weights are those of an unbroken run."""
    monkeypatch.setenv("OMP_NUM_THREADS", "1")  # sums of floats depend on the number of threads
    federation = write_tiny(tmp_path / "federation", sites=2, lacking={0: ("d",)})
    changes = {"imputer__rounds": 2, "task__rounds": 2, "min_sites": 2, "sites_timeout": 60.0}
    directory = tmp_path / "runs" / "killed"
    with hospitals(tmp_path / "keys", federation, ["site-0", "site-1"]) as made:

        def until(phase, run):
            logs = [site.log_path for site in made.started]
            reached = lambda: any(line["phase"] == phase for line in history(directory))  # noqa: E731
            wait_for(lambda: (directory / "history.jsonl").exists() and reached(), *logs, seconds=180)

        run = made.run(settings(**changes, name="killed"))
        until("imputer", run)
        made.kill_server_app()
        assert made.wait(run, 90).startswith("finished:failed")
        run = made.run(settings(**changes, resume=str(directory)))
        until("task-condi", run)
        made.superlink.kill()
        made.superlink.wait()
        made.kill_server_app()
        made.start_superlink()
        wait_for(lambda: made.online() == {"site-0", "site-1"}, seconds=120)
        run = made.run(settings(**changes, resume=str(directory)))
        status, log = made.wait(run, 280), made.log(run)
    assert status == "finished:completed", log
    assert "Artefacts:" in log
    plain = {k.replace("__", ".").replace("_", "-"): v for k, v in changes.items()}
    local, _ = run_local(federation, plain | {"name": "local"})
    for model in ("imputer", "task-condi"):
        one, two = (load_file(d / f"{model}.safetensors") for d in (directory, local.path))
        assert one.keys() == two.keys()
        for name in one:
            np.testing.assert_allclose(one[name], two[name], rtol=1e-5, atol=1e-6, err_msg=name)


@pytest.mark.timeout(900)
def test_a_model_of_200_megabytes_passes_and_submit_tells_how_a_run_ended(tmp_path, settings):
    federation = write_tiny(tmp_path / "federation", sites=1)
    large = {"task__width": 1440, "task__heads": 2, "task__blocks": 3, "task__batch": 1, "task__steps": 1}
    given = settings(method="mask", task__rounds=1, min_sites=1, name="large", **large)
    with hospitals(tmp_path / "keys", federation, ["site-0"]) as made:
        command = ["condi", "submit", "--superlink", f"localhost:{made.api}", "-c", given]
        trusted = ["--root-certificates", str(made.credentials / "ca.crt")]
        options = {"capture_output": True, "text": True, "env": made.sandbox.env, "timeout": 500}
        assert subprocess.run([*command, *trusted], **options).returncode == 0
        again = subprocess.run([*command, *trusted], **options)
        assert (again.returncode, again.stderr.count("\n")) == (1, 2)  # which run it is, and why it failed
        assert "exists: choose another name" in again.stderr
    assert os.path.getsize(tmp_path / "runs" / "large" / "task-mask.safetensors") > 200e6
    (line,) = history(tmp_path / "runs" / "large")
    assert line["bytes-up"] > 200e6
