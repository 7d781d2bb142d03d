"""`condi submit`, and a model beyond what one gRPC message may have."""

import os
import subprocess

import pytest

from tests.helpers.hospitals import history, hospitals
from tests.helpers.tiny_federation import write_tiny

pytestmark = pytest.mark.deployment


@pytest.mark.timeout(1800)
def test_a_model_of_200_megabytes_passes_and_submit_tells_how_a_run_ended(tmp_path, settings):
    federation = write_tiny(tmp_path / "federation", sites=1)
    large = {"task__width": 1440, "task__heads": 2, "task__blocks": 3, "task__batch": 1, "task__steps": 1}
    given = settings(method="mask", task__rounds=1, min_sites=1, name="large", **large)
    with hospitals(tmp_path / "keys", federation, ["site-0"]) as made:
        command = ["condi", "submit", "--superlink", f"localhost:{made.api}", "-c", given]
        trusted = ["--root-certificates", str(made.credentials / "ca.crt")]
        options = {"capture_output": True, "text": True, "env": made.flower.env, "timeout": 800}
        assert subprocess.run([*command, *trusted], **options).returncode == 0
        again = subprocess.run([*command, *trusted], **options)
        assert (again.returncode, again.stderr.count("\n")) == (1, 2)  # which run it is, and why it failed
        assert "exists: choose another name" in again.stderr
    assert os.path.getsize(tmp_path / "runs" / "large" / "task-mask.safetensors") > 200e6
    (line,) = history(tmp_path / "runs" / "large")
    assert line["bytes-up"] > 200e6
