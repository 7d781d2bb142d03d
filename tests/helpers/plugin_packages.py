"""Packages with methods, as an installer leaves them: a module, and a folder with its metadata."""

from __future__ import annotations

import importlib.metadata
from pathlib import Path

MODULE = """
from condi_core.methods import Method
METHOD = Method("{name}", "zeros and the mask, again")
"""


def write_package(
    folder: Path, name: str = "own", module: str = MODULE, package: str = "own-method", version: str = "1.0"
) -> importlib.metadata.Distribution:
    """Write a package that has a method called `name`, and return its distribution."""
    stem = package.replace("-", "_")
    (folder / f"{stem}.py").write_text(module.format(name=name))
    info = folder / f"{stem}-{version}.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {package}\nVersion: {version}\n")
    (info / "entry_points.txt").write_text(f"[condi.methods]\n{name} = {stem}:METHOD\n")
    return importlib.metadata.Distribution.at(info)
