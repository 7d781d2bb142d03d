"""Real data sets, for tests that are skipped without them."""

import os
from pathlib import Path

import pytest


def require_real(name: str) -> Path:
    """Return a folder in CONDI_DATA or next to the repository; without it the test is skipped."""
    folders = [os.environ.get("CONDI_DATA"), Path(__file__).parents[2].parent / "shared" / "data"]
    for folder in filter(None, folders):
        if (Path(folder) / name).exists():
            return Path(folder) / name
    pytest.skip(f"{name} is not available: set CONDI_DATA to the folder that has {name}")
