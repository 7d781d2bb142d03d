"""The benchmarks: every script imports, so that none is left behind when names change."""

import sys
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path

import pytest

FOLDER = Path(__file__).parent.parent / "benchmarks"
NEEDS_PYPOTS = {"peers"}


@pytest.mark.parametrize("name", sorted(path.stem for path in FOLDER.glob("*.py")))
def test_a_benchmark_imports(name, monkeypatch):
    if name in NEEDS_PYPOTS and find_spec("pypots") is None:
        pytest.skip("PyPOTS is not installed")
    monkeypatch.syspath_prepend(FOLDER)
    before = set(sys.modules)
    import_module(name)
    for module in set(sys.modules) - before:  # names such as `runs` must not hide others from later tests
        if (
            getattr(sys.modules[module], "__file__", None)
            and FOLDER in Path(sys.modules[module].__file__).parents
        ):
            del sys.modules[module]
