"""Faults of sites, tried on processes over gRPC with TLS and registered sites."""

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

ROUND_SECONDS = 30.0
FAULTS = str(Path(__file__).parents[1] / "helpers" / "faults")


@pytest.mark.timeout(900)
def test_a_run_survives_sites_that_die_hang_or_are_cut_off(tmp_path, settings):
    """Four hospitals, three rounds: in the first one is killed and one hangs, in the second one is cut off;
    in the third all are there again."""
    federation = write_tiny(tmp_path / "federation", sites=4)
    sites = [f"site-{i}" for i in range(4)]
    hanging = [[], ["train.task 1"], ["train.task 1"], []]
    with coordinator(tmp_path / "keys", sites) as made, cable(int(made.fleet.split(":")[1])) as cut:
        direct = made.fleet

        def start(i):
            made.fleet = f"localhost:{cut.port}" if i == 3 else direct
            environment = {"CONDI_FAULTS": json.dumps(hanging[i]), "PYTHONPATH": FAULTS}
            return made.start(sites[i], federation / sites[i], **environment)

        for i, site in enumerate(sites):
            made.register(site)
            start(i)
        wait_for(lambda: made.online() == set(sites), *(site.log_path for site in made.started))
        run = made.run(
            settings(
                method="mask", task__rounds=3, min_sites=1, sites=",".join(sites),
                round_timeout=ROUND_SECONDS, sites_timeout=180.0, name="faults",
            )
        )  # fmt: skip
        directory = tmp_path / "runs" / "faults"

        def rounds():
            return len(history(directory))

        doomed = made.started[2]
        wait_for(lambda: "hangs" in doomed.log, doomed.log_path, seconds=120)
        doomed.kill()
        # As a service manager does: a node with this key is refused until it is known to be offline.
        again = start(2)
        while rounds() < 1:
            if again.process.poll() is not None:
                again = start(2)
            assert made.flower.status(run)[0] == "running", made.log(run)
            time.sleep(2)
        cut.pull()
        time.sleep(ROUND_SECONDS)
        cut.plug()
        status, log, hung = made.wait(run, 400), made.log(run), made.started[1].log
    assert status == "finished:completed", log
    first, second, third = (line["failures"] for line in history(directory))
    assert set(first) & set(sites) == {"site-1", "site-2"}
    assert f"stopped after {ROUND_SECONDS:g} s" in hung
    assert set(second) <= {"site-3", "site-3 (evaluation)"}
    assert third == {}
    weights = load_file(directory / "task-mask.safetensors")
    assert all(np.isfinite(array).all() for array in weights.values())
