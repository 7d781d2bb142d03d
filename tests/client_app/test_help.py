"""The help of a site's commands imports nothing that takes seconds."""

import subprocess
import sys

CODE = """
import sys
from typer.testing import CliRunner
from server_app.cli import app
for command in ("impute", "predict", "evaluate", "plot", "site", "audit", "dataset", "cache"):
    result = CliRunner().invoke(app, [command, "--help"])
    assert result.exit_code == 0 and "Usage" in result.output, result.output
slow = {"torch", "flwr", "pandas", "scipy", "mne", "wfdb", "matplotlib"} & set(sys.modules)
assert not slow, slow
"""


def test_help_imports_nothing_slow():
    result = subprocess.run([sys.executable, "-c", CODE], capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
