"""A run that, with --kill, ends its own process by SIGKILL at its first checkpoint."""

import json
import os
import signal
import sys
from pathlib import Path

import platformdirs
import torch

from client_app.app import app
from condi_core.config import RunConfig
from server_app.app import coordinate
from server_app.artifacts.run_directory import RunDirectory
from tests.helpers.local_grid import LocalGrid

settings = json.loads(Path(sys.argv[1]).read_text())
cache = Path(settings["output"]) / "cache"
platformdirs.user_cache_path = lambda *_, **__: cache
torch.set_num_threads(1)

if "--kill" in sys.argv:
    save = RunDirectory.save

    def save_and_die(self, state):
        save(self, state)
        os.kill(os.getpid(), signal.SIGKILL)

    RunDirectory.save = save_and_die

nodes = [{"partition-id": i, "num-partitions": 2} for i in range(2)]
coordinate(LocalGrid(app, nodes, settings), RunConfig.from_flat(settings))
