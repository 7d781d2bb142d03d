"""What an operator sees and does during runs of real sites: progress, maintenance, and a queue of runs."""

import pytest

from server_app.artifacts.participation import change_drained
from server_app.watch.snapshot import take_snapshot
from tests.helpers.hospitals import history, hospitals, wait_for
from tests.helpers.tiny_federation import write_tiny

pytestmark = pytest.mark.deployment


@pytest.mark.timeout(1500)
def test_progress_maintenance_and_a_queue_that_a_bad_run_does_not_block(tmp_path, settings):
    federation, runs = write_tiny(tmp_path / "federation", sites=2), tmp_path / "runs"
    common = {"method": "mask", "compare_with": "", "queue": True, "min_sites": 1}
    with hospitals(tmp_path / "keys", federation, ["site-0", "site-1"]) as running:
        held = {"sites": "site-0,site-1", "sites_timeout": 300.0}
        first = running.run(settings(**common, **held, name="first", task__rounds=8))
        wait_for(lambda: (runs / "first" / "progress.json").exists(), running.flower.folder / "superlink.log")
        states: set[str] = set()

        def has_rounds(number: int) -> bool:
            snapshot = take_snapshot(runs / "first")
            states.update(site["state"] for site in snapshot["sites"])
            return len(snapshot["history"]) >= number

        wait_for(lambda: has_rounds(1) and "trains" in states, runs / "first" / "progress.json")
        change_drained(runs / "first", ["site-0", "site-1"])  # so that the run waits until others are queued
        bad = running.run(settings(**common | {"min_sites": 9, "sites_timeout": 1.0}, name="bad"))
        wait_for(lambda: "queued behind 1 run" in running.log(bad), running.flower.folder / "superlink.log")
        last = running.run(settings(**common, name="last", task__rounds=1))
        change_drained(runs / "first", removed=["site-0"])
        assert running.wait(first, 600) == "finished:completed"
        assert running.wait(bad, 600) == "finished:failed"
        assert running.wait(last, 600) == "finished:completed"
        assert "queued behind" in running.log(last)

    assert {"trains"} <= states <= {"trains", "idle", "scores its windows", "drained"}
    lines = history(runs / "first")
    assert [line["sites-asked"] for line in lines][:: len(lines) - 1] == [2, 1]
    assert not any(line["failures"] for line in lines)
    assert take_snapshot(runs / "first")["status"] == "completed"
    began, ended = (runs / "last" / "config.json", runs / "first" / "result.json")
    assert began.stat().st_mtime > ended.stat().st_mtime
