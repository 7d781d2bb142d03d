"""The folder of the Flower app that is installed, from which Flower makes the bundle for all sites.

The packages lie among others where CondI is installed from a wheel. They are therefore copied, together with
the files of `server_app/bundle`: in a checkout these are links to its own, in a wheel they are files.
"""

from __future__ import annotations

import shutil
from pathlib import Path

INSTALLED_FOLDER = Path(__file__).resolve().parents[2]
PACKAGES = ("client_app", "condi_core", "data_partitions", "server_app")
BUNDLE = INSTALLED_FOLDER / "server_app" / "bundle"
PYPROJECT = (
    BUNDLE / "app.toml"
)  # under another name, as ruff takes a folder with a pyproject.toml for a project


def copy_app(parent: Path) -> Path:
    """Copy the app that is installed into a new folder in `parent`, and return that folder.

    Raises
    ------
    OSError
        A file cannot be read or written.
    """
    app = parent / "condi"
    for package in PACKAGES:
        for source in (INSTALLED_FOLDER / package).rglob("*.py"):
            target = app / source.relative_to(INSTALLED_FOLDER)
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(source, target)
    shutil.copyfile(PYPROJECT, app / "pyproject.toml")
    shutil.copyfile(BUNDLE / "LICENSE", app / "LICENSE")
    return app
