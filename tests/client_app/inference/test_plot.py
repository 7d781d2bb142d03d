"""`condi plot`: a picture of one completed window."""

import pytest
from typer.testing import CliRunner

from server_app.cli import app
from tests.helpers.tiny_federation import write_tiny

pytest.importorskip("matplotlib")


def test_the_picture_has_truth_observed_samples_median_and_interval(run_local, tmp_path):
    federation = write_tiny(tmp_path / "federation", sites=1)
    directory, _ = run_local(federation, {"imputer.steps": 1, "compare-with": "", "name": "run"}, nodes=1)
    picture = tmp_path / "window.svg"
    options = ["--model", directory.path, "--data", federation / "site-0", "--seconds", 0.5]
    result = CliRunner().invoke(app, ["plot", *map(str, options), "--out", str(picture)])
    assert result.exit_code == 0 and "of site-0: " in result.output, result.output
    labels = ("measured, hidden from the model", "given to the model", "median of 50 draws", "90 % interval")
    for label in (*labels, "time (s)", "a (mV)", "of the measured samples hidden"):
        assert label in picture.read_text()
    assert picture.stat().st_mode & 0o777 == 0o600
    result = CliRunner().invoke(app, ["plot", *map(str, options), "--out", str(tmp_path / "window.txt")])
    assert result.exit_code == 1 and result.output.count("\n") == 1
