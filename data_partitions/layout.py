"""The files by which the directory of a site and that of a federation are recognised."""

from pathlib import Path

from pydantic import BaseModel

from data_partitions.errors import DataError
from data_partitions.storage import read_json

MANIFEST_FILE = "manifest.json"  # in the directory of a site
FEDERATION_FILE = "federation.json"  # in the directory of a federation, around those of its sites


def is_partition(path: Path) -> bool:
    """Return whether a directory is that of one site."""
    return _has_file(path, MANIFEST_FILE)


def is_federation(path: Path) -> bool:
    """Return whether a directory is that of a federation."""
    return _has_file(path, FEDERATION_FILE)


def _has_file(path: Path, name: str) -> bool:
    try:
        return (path / name).exists()
    except PermissionError:
        raise DataError(
            f"{path} is private to another user, as partitions are: run this as that user, or let that user "
            "change its owner (chown)"
        ) from None


def list_partitions(path: Path) -> list[str]:
    """Return the names of the folders in a directory that are those of sites, without hidden ones."""
    if not path.is_dir():
        return []
    return sorted(p.name for p in path.iterdir() if not p.name.startswith(".") and is_partition(p))


def list_sites(path: Path) -> tuple[str, ...]:
    """Return the names of the sites of a federation without opening any; DataError where there is none."""
    if is_federation(path):
        return read_json(path / FEDERATION_FILE, _SiteNames).sites
    if not (names := list_partitions(path)):
        require_federation(path)
    return tuple(names)


class _SiteNames(BaseModel):
    sites: tuple[str, ...]


def detect_partition(path: Path) -> bool:
    """Return whether a path is the directory of a site, not native files; DataError for a federation."""
    if is_federation(path):
        require_partition(path)
    return is_partition(path)


def require_partition(path: Path) -> None:
    """Raise DataError unless a directory is that of one site."""
    if is_partition(path):
        return
    if not path.is_dir():
        raise DataError(f"there is no partition at {path}: make one with `condi prepare`")
    if is_federation(path):
        raise DataError(f"{path} is a federation, not one site: give the directory of a site in it")
    raise DataError(f"{path} has no {MANIFEST_FILE}: give the directory of a site")


def require_federation(path: Path) -> None:
    """Raise DataError unless a directory is that of a federation."""
    if is_federation(path):
        return
    if not path.is_dir():
        raise DataError(f"there is no federation at {path}: make one with `condi prepare`")
    if is_partition(path):
        raise DataError(f"{path} is one site, not a federation: give the directory that contains it")
    raise DataError(
        f"{path} has no {FEDERATION_FILE} and no partitions: give a directory made by `condi prepare` with "
        "--split, or one with the partition of each site in a folder of its name"
    )
