"""Whether the app of a run is code that the site accepts: that which is installed, or known by its hash.

An app is a zip file (a FAB) that the coordinator sends. Flower unpacks it in front of all installed packages,
so that a single file in it could replace any library.
"""

from __future__ import annotations

import hashlib
import io
import tomllib
import zipfile
from collections.abc import Collection
from pathlib import Path

import client_app

INSTALLED_FOLDER = Path(client_app.__file__).parents[1]
INSTALLED_PACKAGES = ("client_app", "condi_core", "data_partitions", "server_app")
APP_ID = ("condi", "condi", "client_app.app:app")  # publisher, name, and where its ClientApp is
OTHER_FILES = {"pyproject.toml", "LICENSE", ".info/CONTENT"}
MAX_FILE_BYTES = 2**20


def find_code_refusal(app: bytes, accepted: Collection[str], installed: Path = INSTALLED_FOLDER) -> str:
    """Return why the code of an app is not accepted; empty if it is.

    Parameters
    ----------
    app : bytes
        The zip file.
    accepted : collection of str
        `accepted-apps` of the policy.
    installed : Path
        Folder of the packages that are installed.
    """
    digest = hashlib.sha256(app).hexdigest()
    if "any" in accepted or digest in accepted:
        return ""
    advice = f'accept it in its policy by accepted-apps = ["{digest}"]'
    if "installed" not in accepted:
        return f"it runs only apps that its policy accepts, and not {digest}: {advice}"
    if difference := _find_difference(app, installed):
        return (
            "it runs only the code of CondI that is installed here, and in the coordinator's app "
            f"{difference}: install the same version at both, or {advice}"
        )
    return ""


def _find_difference(app: bytes, installed: Path) -> str:
    """Return the first difference between an app and the installed packages; empty if there is none."""
    try:
        with zipfile.ZipFile(io.BytesIO(app)) as archive:
            names = [entry.filename for entry in archive.infolist() if not entry.is_dir()]
            if len(set(names)) < len(names):
                return "a file is contained twice"
            if large := next((e.filename for e in archive.infolist() if e.file_size > MAX_FILE_BYTES), ""):
                return f"{large!r} has more than {MAX_FILE_BYTES} bytes"
            for name in sorted(names):
                if name not in OTHER_FILES and not _equals_installed(archive, name, installed):
                    return f"{name!r} differs"
            settings = tomllib.loads(archive.read("pyproject.toml").decode())
        flower = settings["tool"]["flwr"]["app"]
        app_id = (flower["publisher"], settings["project"]["name"], flower["components"]["clientapp"])
    except Exception as error:  # whatever a coordinator sends, the node goes on
        return f"something cannot be read ({type(error).__name__})"
    return "" if app_id == APP_ID else "'pyproject.toml' names another app"


def _equals_installed(archive: zipfile.ZipFile, name: str, installed: Path) -> bool:
    package, *_ = parts = name.split("/")
    if package not in INSTALLED_PACKAGES or not name.endswith(".py") or {"", ".", ".."} & set(parts):
        return False
    file = installed.joinpath(*parts)
    return file.is_file() and file.read_bytes() == archive.read(name)
