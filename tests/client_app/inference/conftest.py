"""A run that has learnt how generated leads depend, and the commands on it."""

import pytest
import torch
from typer.testing import CliRunner

from server_app.cli import app
from tests.helpers.ecg_run import write_ecg_run
from tests.helpers.generated_run import write_run
from tests.helpers.inference_inputs import SCHEMA


@pytest.fixture(scope="session")
def ecg_run(tmp_path_factory):
    torch.set_num_threads(1)
    return write_ecg_run(tmp_path_factory.mktemp("ecg"))


@pytest.fixture(scope="session")
def run(tmp_path_factory):
    """Return a run with random weights."""
    return write_run(tmp_path_factory.mktemp("runs") / "run", SCHEMA)


def _caller(default_model):
    def run_command(command, data, out, *options, model=default_model):
        arguments = [command, "--model", model, "--data", data, "--out", out, *options]
        result = CliRunner().invoke(app, [str(word) for word in arguments])
        assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
        return result.exit_code, result.output

    return run_command


@pytest.fixture
def condi(run):
    """`condi(command, data, out, *options, model)`: exit code and output, with random weights."""
    return _caller(run)


@pytest.fixture
def call(ecg_run):
    """`call(command, data, out, *options, model)`: exit code and output, with the trained run."""
    return _caller(ecg_run)
