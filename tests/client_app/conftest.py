"""Runs of small federations and small networks in this process."""

from tests.helpers.run_fixtures import (  # noqa: F401
    federation,
    one_thread,
    run_local,
    settings,
    small_settings,
)
