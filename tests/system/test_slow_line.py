"""A site on a slow line: the others do not wait for it, and it stays in the run."""

import json

import pytest

from tests.helpers.cable import cable
from tests.helpers.hospitals import coordinator, history, wait_for
from tests.helpers.tiny_federation import write_tiny

pytestmark = pytest.mark.deployment

SITES = ["site-0", "site-1", "site-2"]
SLOW = SITES[-1]
BYTES_PER_SECOND = 300_000.0  # a message takes longer than the minute after which a silent node is offline


@pytest.mark.timeout(1200)
def test_a_site_that_needs_minutes_for_a_message_holds_up_no_round_and_scores_the_test(tmp_path, settings):
    """Three sites have a model of 20 MB, which one of them receives and sends in more than a minute."""
    federation = write_tiny(tmp_path / "federation", sites=3)
    directory = tmp_path / "runs" / "slow-line"
    with (
        coordinator(tmp_path / "keys", SITES) as hospitals,
        cable(int(hospitals.fleet.split(":")[1]), BYTES_PER_SECOND) as line,
    ):
        direct = hospitals.fleet
        for site in SITES:
            hospitals.register(site)
            hospitals.fleet = f"localhost:{line.port}" if site == SLOW else direct
            hospitals.start(site, federation / site)
        wait_for(lambda: hospitals.online() == set(SITES), *(site.log_path for site in hospitals.started))
        run = hospitals.run(
            settings(
                method="mask", task__rounds=3, task__width=576, task__steps=1, min_sites=1, quorum=0.6,
                sites=",".join(SITES), name="slow-line",
            )
        )  # fmt: skip
        status, log = hospitals.wait(run, 900), hospitals.log(run)
    assert status == "finished:completed", log
    lines = history(directory)
    weights = (directory / "task-mask.safetensors").stat().st_size
    seconds_per_message = weights / BYTES_PER_SECOND
    assert weights > 19e6 and seconds_per_message > 60
    for round_ in lines:
        assert round_["train-seconds"] < seconds_per_message, "no round waits for the slow site"
        assert {"site-0", "site-1"} <= round_["site-seconds"].keys()
    assert lines[0]["failures"][SLOW] == "it had not answered when 2 of 3 sites had, which is the quorum"
    assert lines[1]["failures"][SLOW] == "it was not asked, as it still works on round 1 of task-mask"
    answered = json.loads((directory / "result.json").read_text())["answered"]["task-mask"]
    assert answered["sites"] == SITES and not answered["failures"], "the slow site was never dropped"
