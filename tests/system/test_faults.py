"""Faults of registered sites, which run as processes and connect by gRPC with TLS."""

import json
import time
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file

from tests.helpers.cable import cable
from tests.helpers.hospitals import coordinator, history, wait_for
from tests.helpers.tiny_federation import write_tiny

pytestmark = pytest.mark.deployment

ROUND_SECONDS = 45.0
NUM_ROUNDS = 30  # a restarted or reconnected site misses those of up to a minute
FAULTS = str(Path(__file__).parents[1] / "helpers" / "faults")


@pytest.mark.timeout(900)
def test_a_run_survives_sites_that_are_killed_hang_or_are_disconnected(tmp_path, settings):
    """Run four hospitals: in round 1 one is killed and one hangs; when all are back, one is disconnected."""
    federation = write_tiny(tmp_path / "federation", sites=4)
    sites = [f"site-{i}" for i in range(4)]
    hanging = [[], ["train.task 1"], ["train.task 1"], []]
    directory = tmp_path / "runs" / "faults"

    def failures():
        """Return which sites failed in each round so far, in training or in evaluation."""
        lines = history(directory)
        return [{name.removesuffix(" (evaluation)") for name in line["failures"]} for line in lines]

    with (
        coordinator(tmp_path / "keys", sites) as hospitals,
        cable(int(hospitals.fleet.split(":")[1])) as fleet_cable,
    ):
        direct = hospitals.fleet

        def start(i):
            hospitals.fleet = f"localhost:{fleet_cable.port}" if i == 3 else direct
            environment = {"CONDI_FAULTS": json.dumps(hanging[i]), "PYTHONPATH": FAULTS}
            return hospitals.start(sites[i], federation / sites[i], **environment)

        for i, site in enumerate(sites):
            hospitals.register(site)
            start(i)
        wait_for(lambda: hospitals.online() == set(sites), *(site.log_path for site in hospitals.started))
        run = hospitals.run(
            settings(
                method="mask", task__rounds=NUM_ROUNDS, min_sites=1, sites=",".join(sites),
                round_timeout=ROUND_SECONDS, sites_timeout=75.0, name="faults",
            )
        )  # fmt: skip
        killed = hospitals.started[2]
        wait_for(lambda: "hangs" in killed.log, killed.log_path, seconds=120)
        killed.kill()
        # A service manager would do the same: the SuperLink refuses the key until the killed node is offline.
        restarted = start(2)

        def wait_for_round(reached):
            """Wait until the failures of a round fulfil a condition, with the killed site restarted."""
            nonlocal restarted
            while not any(map(reached, failures())):
                if restarted.process.poll() is not None:
                    restarted = start(2)
                assert hospitals.flower.status(run)[0] == "running", hospitals.log(run)
                time.sleep(1)

        wait_for_round(lambda failed: not failed)
        fleet_cable.pull()
        wait_for_round(lambda failed: failed == {"site-3"})
        fleet_cable.plug()
        status, log, log_of_hung = hospitals.wait(run, 400), hospitals.log(run), hospitals.started[1].log
    assert status == "finished:completed", log
    failed = failures()
    assert failed[0] == {"site-1", "site-2"}
    assert f"stopped after {ROUND_SECONDS:g} s" in log_of_hung
    assert failed[-1] == set(), "all sites are back"
    weights = load_file(directory / "task-mask.safetensors")
    assert all(np.isfinite(array).all() for array in weights.values())
