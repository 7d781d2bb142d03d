"""The program `condi` as a process of its own, and what it leaves running."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

CONDI = Path(sys.executable).with_name("condi")


def run_condi(*arguments, cwd: Path) -> subprocess.CompletedProcess:
    """Run `condi` in a folder; its processes carry that folder in their environment."""
    env = os.environ | {"CONDI_TEST": str(cwd)}
    command = [CONDI, *map(str, arguments)]
    return subprocess.run(command, cwd=cwd, env=env, capture_output=True, text=True, timeout=300)


def processes_left(cwd: Path) -> list[str]:
    """Return the ids of processes that `condi` has left behind: they have inherited its environment."""
    mark = f"CONDI_TEST={cwd}".encode()
    left = []
    for environment in Path("/proc").glob("[0-9]*/environ"):
        try:
            if mark in environment.read_bytes().split(b"\0"):
                left.append(environment.parent.name)
        except OSError:  # the process has ended meanwhile, or belongs to somebody else
            continue
    return left
