"""`condi submit`, and a model that is too large for one gRPC message."""

import os
import subprocess

import pytest

from client_app.node.audit_log import read_entries
from tests.helpers.hospitals import coordinator, history, hospitals
from tests.helpers.tiny_federation import write_tiny

pytestmark = pytest.mark.deployment


@pytest.mark.timeout(1800)
def test_a_model_of_200_megabytes_is_trained_and_submit_reports_how_a_run_ended(tmp_path, settings):
    federation = write_tiny(tmp_path / "federation", sites=1)
    large = {"task__width": 1440, "task__heads": 2, "task__blocks": 3, "task__batch": 1, "task__steps": 1}
    run_config = settings(method="mask", task__rounds=1, min_sites=1, name="large", **large)
    policy = 'methods = ["mask"]\n'
    with hospitals(tmp_path / "keys", federation, ["site-0"], policy) as running:
        command = ["condi", "submit", "--superlink", f"localhost:{running.api}", "-c", run_config]
        certificates = ["--root-certificates", str(running.credentials / "ca.crt")]
        options = {"capture_output": True, "text": True, "env": running.flower.env, "timeout": 800}
        assert subprocess.run([*command, *certificates], **options).returncode == 0
        second = subprocess.run([*command, *certificates], **options)
        assert (second.returncode, second.stderr.count("\n")) == (1, 2)  # which run it is, and why it failed
        assert "exists: choose another name" in second.stderr

        log = running.audit_log("site-0")
        answered = [(e["message"], e["bytes"]) for e in read_entries(log) if e["kind"] == "reply"]
        kinds, sizes = zip(*answered, strict=True)
        assert kinds[:4] == ("query.describe", "train.task", "evaluate.task", "evaluate.task")
        assert sizes[1] > 200e6 > 1e5 > sizes[0]

        command[-1] = settings(method="condi", min_sites=1, sites_timeout=1.0)
        refused = subprocess.run([*command, *certificates], **options)
        reason = (
            "its policy does not allow the method condi: choose others by method and compare-with, from mask"
        )
        assert f"excluded: site-0: {reason}" in refused.stderr, refused.stderr
        (site,) = running.started
        refusals = [e for e in read_entries(log) if e["kind"] == "refusal"]
        assert {(e["message"], e["reason"]) for e in refusals} == {("query.describe", reason)}
        run = refusals[0]["run"]
        assert f"condi: this site refused query.describe of run {run}: {reason}" in site.log
        apps = [line for line in site.log.splitlines() if "flwr-clientapp" in line and str(run) in line]
        assert not apps
    assert os.path.getsize(tmp_path / "runs" / "large" / "task-mask.safetensors") > 200e6
    (line,) = history(tmp_path / "runs" / "large")
    assert line["bytes-up"] > 200e6


def test_more_sites_than_are_registered_are_refused_before_a_run_starts(tmp_path):
    with coordinator(tmp_path / "keys", ["north", "south"]) as running:
        for site in ("north", "south"):
            running.register(site)
        command = ["condi", "submit", "--superlink", f"localhost:{running.api}"]
        command += ["--root-certificates", str(running.credentials / "ca.crt"), "-c"]
        sentences = {
            "min-sites=3": "setting 'min-sites': expected at most 2, the number of sites",
            "sites='sooth'": "setting 'sites': the SuperLink has no site 'sooth' (did you mean 'south'?).",
        }
        for settings, sentence in sentences.items():
            refused = subprocess.run(
                [*command, settings], env=running.flower.env, capture_output=True, text=True
            )
            assert refused.returncode == 2 and f"Error: {sentence}" in refused.stderr, refused.stderr
        assert running.flower.flwr("ls", "condi")["runs"] == []
