"""Runs in this process, of small federations and small networks."""

from tests.helpers.run_fixtures import (  # noqa: F401
    federation,
    one_thread,
    run_local,
    settings,
    small_settings,
)
