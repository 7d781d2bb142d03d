"""A run that ends its own process by SIGKILL after the first checkpoint of a phase.

Usage: python -m tests.helpers.killed_run SETTINGS.json PHASE
"""

import json
import os
import signal
import sys
from pathlib import Path

import platformdirs
import torch

from server_app.artifacts.run_directory import RunDirectory
from tests.helpers.run_fixtures import run_in_process

settings, phase = json.loads(Path(sys.argv[1]).read_text()), sys.argv[2]
cache = Path(settings["output"]) / "cache"
platformdirs.user_cache_path = lambda *_, **__: cache
torch.set_num_threads(1)
save = RunDirectory.save


def save_and_die(self, state):
    save(self, state)
    if phase in state.done:
        os.kill(os.getpid(), signal.SIGKILL)


RunDirectory.save = save_and_die
run_in_process(settings)
