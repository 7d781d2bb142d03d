"""Paths that an operator writes."""

from pathlib import Path

import pytest

from server_app.errors import RunError
from server_app.paths import expand_user


def test_a_home_folder_that_is_unknown_is_refused_in_a_sentence(monkeypatch):
    monkeypatch.setenv("HOME", "/home/a")
    assert expand_user(Path("~/x")) == Path("/home/a/x") and expand_user(Path("x~")) == Path("x~")
    with pytest.raises(RunError, match="got ~nosuchuser/x, whose home folder is unknown: write the whole"):
        expand_user(Path("~nosuchuser/x"))
