"""The program `condi` as a process of its own, and what it leaves running."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType

from server_app.operations.processes import pids_with_environment

END_SECONDS = 5  # in which helpers of Python's multiprocessing end, once they notice that `condi` has
CONDI = Path(sys.executable).with_name("condi")


def run_condi(
    *arguments, cwd: Path, variables: Mapping[str, str] = MappingProxyType({})
) -> subprocess.CompletedProcess:
    """Run `condi` in a folder, with further variables in its environment, which also names that folder."""
    env = os.environ | {"CONDI_TEST": str(cwd)} | variables
    command = [CONDI, *map(str, arguments)]
    return subprocess.run(command, cwd=cwd, env=env, capture_output=True, text=True, timeout=300)


def processes_left(cwd: Path) -> set[int]:
    """Return the ids of processes that `condi` has left behind: they have inherited its environment."""
    deadline = time.monotonic() + END_SECONDS
    while (left := pids_with_environment(f"CONDI_TEST={cwd}")) and time.monotonic() < deadline:
        time.sleep(0.1)
    return left
