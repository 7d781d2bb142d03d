"""The cache folder of this user: the demo federation, and completed windows of sites that name no other."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

import platformdirs

from data_partitions.errors import DataError
from data_partitions.storage import make_private_directory

CACHE_VARIABLE = "CONDI_CACHE"  # an environment variable that names another folder


def user_cache() -> Path:
    """Return the folder that the variable CONDI_CACHE names; by default one in the user's cache folder."""
    folder = os.environ.get(CACHE_VARIABLE)
    return Path(os.path.expanduser(folder)).absolute() if folder else platformdirs.user_cache_path("condi")


def require_writable(folder: Path, remedy: str) -> None:
    """Raise DataError with a remedy unless a folder can be made and written to."""
    try:
        make_private_directory(folder)
        tempfile.TemporaryFile(dir=folder).close()
    except OSError as error:
        raise DataError(
            f"completed windows cannot be written to {folder} ({error.strerror}): {remedy}"
        ) from None
