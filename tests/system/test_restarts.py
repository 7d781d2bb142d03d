"""A coordinator that dies in mid-run, tried on processes over gRPC with TLS and registered sites."""

import numpy as np
import pytest
from safetensors.numpy import load_file

from tests.helpers.hospitals import history, hospitals, wait_for
from tests.helpers.tiny_federation import write_tiny

pytestmark = pytest.mark.deployment


@pytest.mark.timeout(1200)
def test_both_phases_with_the_coordinator_killed_in_each(tmp_path, settings, run_local, monkeypatch):
    """The ServerApp dies in phase 1, the SuperLink in phase 2; the weights are those of an unbroken run."""
    monkeypatch.setenv("OMP_NUM_THREADS", "1")  # sums of floats depend on the number of threads
    federation = write_tiny(tmp_path / "federation", sites=2, missing_modalities={0: ("d",)})
    changes = {"imputer__rounds": 2, "task__rounds": 2, "min_sites": 2, "sites_timeout": 240.0}
    directory = tmp_path / "runs" / "killed"
    with hospitals(tmp_path / "keys", federation, ["site-0", "site-1"]) as made:

        def until(phase, run):
            logs = [site.log_path for site in made.started]
            wait_for(lambda: any(x["phase"] == phase for x in history(directory)), *logs, seconds=180)

        run = made.run(settings(**changes, name="killed"))
        until("imputer", run)
        made.kill_server_app()
        assert made.wait(run, 180).startswith("finished:failed")
        run = made.run(settings(**changes, resume=str(directory)))
        until("task-condi", run)
        made.superlink.kill()
        made.superlink.wait()
        made.kill_server_app()
        made.start_superlink()
        wait_for(lambda: made.online() == {"site-0", "site-1"}, seconds=120)
        run = made.run(settings(**changes, resume=str(directory)))
        status, log = made.wait(run, 400), made.log(run)
    assert status == "finished:completed", log
    assert "Artefacts:" in log
    plain = {k.replace("__", ".").replace("_", "-"): v for k, v in changes.items()}
    local, _ = run_local(federation, plain | {"name": "local"})
    for model in ("imputer", "task-condi"):
        one, two = (load_file(d / f"{model}.safetensors") for d in (directory, local.path))
        assert one.keys() == two.keys()
        for name in one:
            np.testing.assert_allclose(one[name], two[name], rtol=1e-5, atol=1e-6, err_msg=name)
