"""A finished run for tests of reports."""

import shutil

import pytest


@pytest.fixture
def run(made, tmp_path):
    """Return a copy of the run, which a test may damage."""
    return shutil.copytree(made[1], tmp_path / "whole")
