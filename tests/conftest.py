"""Give every test its own caches, import benchmarks, and start the longest tests first."""

import sys
from importlib import import_module
from pathlib import Path

import platformdirs
import pytest

LONGEST_FILES = ("test_restarts.py", "test_faults.py", "test_study.py", "test_submit.py")


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    """Store completed windows, and the generated data of the demo, in the folder of the test."""
    monkeypatch.setattr(platformdirs, "user_cache_path", lambda *_, **__: tmp_path / "cache")


@pytest.fixture
def load_benchmark(monkeypatch):
    """Import a module of the folder `benchmarks`, whose names must not hide others from later tests."""
    folder = Path(__file__).parent.parent / "benchmarks"
    monkeypatch.syspath_prepend(folder)
    before = set(sys.modules)
    yield import_module
    for name in set(sys.modules) - before:
        if folder in Path(getattr(sys.modules[name], "__file__", None) or "/").parents:
            del sys.modules[name]


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items):
    """Mark tests of real data, and start the longest tests first, so that the workers end together."""
    for item in items:
        if "real" in item.fixturenames:
            item.add_marker(pytest.mark.real)

    def rank(item):
        return LONGEST_FILES.index(item.path.name) if item.path.name in LONGEST_FILES else len(LONGEST_FILES)

    items.sort(key=rank)
