"""Runs in this process, of small federations and small networks."""

from tests.helpers.run_fixtures import (  # noqa: F401
    federation,
    finished_run,
    made,
    one_thread,
    run_copy,
    run_local,
    settings,
    small_settings,
)
