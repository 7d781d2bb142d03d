"""Whole runs in this process to compare with, and the environment of Flower's engine."""

import os

from tests.helpers.run_fixtures import (  # noqa: F401
    federation,
    one_thread,
    run_local,
    settings,
    small_settings,
)

# Ray gives way to every other process, and two tests at once are such: sites would answer too late.
os.environ.setdefault("RAY_worker_niceness", "0")
