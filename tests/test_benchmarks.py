"""The benchmarks: every script imports, so that none is left behind when names change."""

from importlib.util import find_spec
from pathlib import Path

import pytest

FOLDER = Path(__file__).parent.parent / "benchmarks"
NEEDS_PYPOTS = {"peers"}


@pytest.mark.parametrize("name", sorted(path.stem for path in FOLDER.glob("*.py")))
def test_a_benchmark_imports(name, load_benchmark):
    if name in NEEDS_PYPOTS and find_spec("pypots") is None:
        pytest.skip("PyPOTS is not installed")
    load_benchmark(name)
