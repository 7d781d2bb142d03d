"""What every test has: caches of its own."""

import platformdirs
import pytest


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    """Keep completed windows, and the generated data of the demo, in the folder of the test."""
    monkeypatch.setattr(platformdirs, "user_cache_path", lambda *_, **__: tmp_path / "cache")
