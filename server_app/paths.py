"""Paths that an operator writes."""

from __future__ import annotations

from pathlib import Path

from server_app.errors import RunError


def expand_user(path: Path) -> Path:
    """Return a path with ~ and ~user replaced by the home folder; RunError when there is none."""
    try:
        return path.expanduser()
    except RuntimeError:
        raise RunError(
            f"expected a path, got {path}, whose home folder is unknown: write the whole path instead of ~"
        ) from None
