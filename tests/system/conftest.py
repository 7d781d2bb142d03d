"""Complete runs in this process to compare with, and the environment of Flower's engine."""

import os

from tests.helpers.run_fixtures import (  # noqa: F401
    federation,
    one_thread,
    run_local,
    settings,
    small_settings,
)

# Ray lowers its priority below all other processes: with two tests at once, sites would answer too late.
os.environ.setdefault("RAY_worker_niceness", "0")
