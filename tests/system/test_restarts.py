"""A coordinator that is killed during a run of registered sites, which connect by gRPC with TLS."""

import numpy as np
import pytest
from safetensors.numpy import load_file

from tests.helpers.hospitals import history, hospitals, wait_for
from tests.helpers.tiny_federation import write_tiny

pytestmark = pytest.mark.deployment


@pytest.mark.timeout(2400)
def test_a_run_whose_coordinator_is_killed_in_both_phases(tmp_path, settings, run_local, monkeypatch):
    """Kill the ServerApp in phase 1 and the SuperLink in phase 2; an undisturbed run has the same weights."""
    monkeypatch.setenv("OMP_NUM_THREADS", "1")  # sums of floats depend on the number of threads
    federation = write_tiny(tmp_path / "federation", sites=2, missing_modalities={0: ("d",)})
    changes = {"imputer__rounds": 2, "task__rounds": 2, "min_sites": 2, "sites_timeout": 240.0}
    directory = tmp_path / "runs" / "killed"
    with hospitals(tmp_path / "keys", federation, ["site-0", "site-1"]) as running:

        def wait_for_phase(phase):
            logs = [site.log_path for site in running.started]
            wait_for(lambda: any(x["phase"] == phase for x in history(directory)), *logs, seconds=400)

        run = running.run(settings(**changes, name="killed"))
        wait_for_phase("imputer")
        running.kill_server_app()
        assert running.wait(run, 400).startswith("finished:failed")
        run = running.run(settings(**changes, resume=str(directory)))
        wait_for_phase("task-condi")
        running.superlink.kill()
        running.superlink.wait()
        running.kill_server_app()
        running.start_superlink()
        wait_for(lambda: running.online() == {"site-0", "site-1"}, seconds=240)
        run = running.run(settings(**changes, resume=str(directory)))
        status, log = running.wait(run, 800), running.log(run)
    assert status == "finished:completed", log
    assert "Artefacts:" in log
    plain = {k.replace("__", ".").replace("_", "-"): v for k, v in changes.items()}
    local, _ = run_local(federation, plain | {"name": "local"})
    for model in ("imputer", "task-condi"):
        first, second = (load_file(d / f"{model}.safetensors") for d in (directory, local.path))
        assert first.keys() == second.keys()
        for name in first:
            np.testing.assert_allclose(first[name], second[name], rtol=1e-5, atol=1e-6, err_msg=name)
