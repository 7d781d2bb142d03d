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


def test_the_node_of_a_site_is_without_what_only_its_apps_need():
    code = "import sys, client_app.join.gate; print({'torch', 'pandas', 'scipy', 'pint'} & set(sys.modules))"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert result.stdout == "set()\n", result.stderr
