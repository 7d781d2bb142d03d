"""A run that has learnt how generated leads depend, and the commands on it."""

import pytest
import torch
from typer.testing import CliRunner

from server_app.cli import app
from tests.helpers.ecg_run import write_ecg_run


@pytest.fixture(scope="session")
def ecg_run(tmp_path_factory):
    torch.set_num_threads(1)
    return write_ecg_run(tmp_path_factory.mktemp("ecg"))


@pytest.fixture
def call(ecg_run):
    """`call(command, data, out, *options, model)`: exit code and output of `condi impute` or `predict`."""

    def run_command(command, data, out, *options, model=ecg_run):
        arguments = [command, "--model", model, "--data", data, "--out", out, *options]
        result = CliRunner().invoke(app, [str(word) for word in arguments])
        assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
        return result.exit_code, result.output

    return run_command
