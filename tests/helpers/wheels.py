"""Wheels, and virtual environments that have the libraries of this one and a wheel of CondI."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path

from tests.helpers.run_settings import PROJECT

PACKAGES = ("client_app", "condi_core", "data_partitions", "server_app")


def build_wheel(project: Path, folder: Path) -> Path:
    """Build the wheel of a project into a folder, and return its path."""
    pip = [sys.executable, "-m", "pip", "wheel", "-q", "--no-deps", "--no-build-isolation", "--no-index"]
    subprocess.run([*pip, str(project), "-w", str(folder)], check=True, capture_output=True, text=True)
    (wheel,) = folder.glob(f"{project.name.replace('-', '_')}-*.whl")
    return wheel


def build_condi_wheel(folder: Path) -> Path:
    """Build CondI's wheel from a copy of the checkout, as a build leaves files behind."""
    copy = folder / "condi"
    ignore = shutil.ignore_patterns("__pycache__")
    for package in PACKAGES:
        shutil.copytree(PROJECT / package, copy / package, symlinks=True, ignore=ignore)
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(PROJECT / name, copy)
    return build_wheel(copy, folder)


def build_example_wheel(folder: Path) -> Path:
    """Build the wheel of the example of a method, also from a copy."""
    copy = Path(shutil.copytree(PROJECT / "examples" / "own-method", folder / "tempered-fedavg"))
    return build_wheel(copy, folder)


def make_environment(folder: Path, *wheels: Path) -> Path:
    """Make a virtual environment with wheels and the libraries of this environment; return its programs."""
    subprocess.run([sys.executable, "-m", "venv", str(folder)], check=True)
    programs, libraries = folder / "bin", Path(sysconfig.get_path("purelib"))
    (site_packages,) = folder.glob("lib/python*/site-packages")
    pip = ("-m", "pip", "install", "-q", "--no-deps", "--no-index")
    run_program(programs / "python", *pip, *wheels, cwd=folder).check_returncode()
    # An editable CondI among the libraries is a finder, which only the environment of the tests starts.
    (site_packages / "libraries.pth").write_text(f"{libraries}\n")
    for program in Path(sys.executable).parent.glob("fl[ow]*r-*"):
        _copy_program(program, programs)
    _copy_program(Path(sys.executable).with_name("flwr"), programs)
    return programs


def _copy_program(program: Path, folder: Path) -> None:
    """Copy a Python program so that it runs with the Python of another folder."""
    _, _, rest = program.read_text().partition("\n")
    copy = folder / program.name
    copy.write_text(f"#!{folder / 'python'}\n{rest}")
    copy.chmod(0o755)


def run_program(program: Path, *arguments: object, cwd: Path) -> subprocess.CompletedProcess:
    """Run a program of an environment in a folder, outside the checkout."""
    env = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
    command = [str(program), *map(str, arguments)]
    return subprocess.run(command, cwd=cwd, env=env, capture_output=True, text=True, timeout=300)
