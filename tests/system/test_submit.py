"""`condi submit`, and a model that is too large for one gRPC message."""

import os
import subprocess

import pytest

from tests.helpers.hospitals import history, hospitals
from tests.helpers.tiny_federation import write_tiny

pytestmark = pytest.mark.deployment


@pytest.mark.timeout(1800)
def test_a_model_of_200_megabytes_is_trained_and_submit_reports_how_a_run_ended(tmp_path, settings):
    federation = write_tiny(tmp_path / "federation", sites=1)
    large = {"task__width": 1440, "task__heads": 2, "task__blocks": 3, "task__batch": 1, "task__steps": 1}
    run_config = settings(method="mask", task__rounds=1, min_sites=1, name="large", **large)
    with hospitals(tmp_path / "keys", federation, ["site-0"]) as running:
        command = ["condi", "submit", "--superlink", f"localhost:{running.api}", "-c", run_config]
        certificates = ["--root-certificates", str(running.credentials / "ca.crt")]
        options = {"capture_output": True, "text": True, "env": running.flower.env, "timeout": 800}
        assert subprocess.run([*command, *certificates], **options).returncode == 0
        second = subprocess.run([*command, *certificates], **options)
        assert (second.returncode, second.stderr.count("\n")) == (1, 2)  # which run it is, and why it failed
        assert "exists: choose another name" in second.stderr
    assert os.path.getsize(tmp_path / "runs" / "large" / "task-mask.safetensors") > 200e6
    (line,) = history(tmp_path / "runs" / "large")
    assert line["bytes-up"] > 200e6
