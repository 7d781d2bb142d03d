"""Give every test its own caches."""

import platformdirs
import pytest


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    """Store completed windows, and the generated data of the demo, in the folder of the test."""
    monkeypatch.setattr(platformdirs, "user_cache_path", lambda *_, **__: tmp_path / "cache")
