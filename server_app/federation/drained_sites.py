"""Leave out the sites that the operator has drained for maintenance, without changing anything for others."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path

from flwr.app import Message

from condi_core.run_files import RunFileError
from data_partitions.sentences import list_some
from server_app.artifacts.participation import read_drained
from server_app.errors import RunError
from server_app.federation.exchange import count_parts
from server_app.federation.messaging import MAX_LISTED_NAMES, POLL_SECONDS


def wait_for_undrained(
    run: Path, requests: Sequence[Message], min_sites: int, timeout: float
) -> list[Message]:
    """Return the requests to sites that are not drained, once there are enough of them.

    A site that is drained while it works finishes its message. The sampling of the other sites is the same
    with and without it.

    Parameters
    ----------
    run : Path
        The run directory.
    requests : sequence of Message
        Requests of an exchange, each with the name of its site as its group.
    min_sites : int
        Smallest number of updates, and of scores, with which the exchange counts.
    timeout : float
        Seconds to wait for sites to be readmitted.

    Raises
    ------
    RunError
        Too few sites are left when the time is over.
    """
    deadline = time.monotonic() + timeout
    while True:
        drained = drained_sites(run)
        active = [request for request in requests if request.metadata.group_id not in drained]
        counts = count_parts(active)
        if all(counts[part] >= min(min_sites, asked) for part, asked in count_parts(requests).items()):
            return active
        names = sorted(drained & {request.metadata.group_id for request in requests})
        listed = list_some(names, MAX_LISTED_NAMES)
        if time.monotonic() > deadline:
            raise RunError(
                f"{len(active)} of {len(requests)} sites are not drained, but min-sites is {min_sites}: "
                f"readmit {listed} by `condi sites {run} --readmit SITE`"
            )
        print(f"waiting for sites that are drained: {listed}", flush=True)
        time.sleep(min(POLL_SECONDS, timeout))


def drained_sites(run: Path) -> set[str]:
    """Return the sites that are drained now; a damaged file is noted, and no site counts as drained."""
    try:
        return read_drained(run)
    except RunFileError as error:
        print(f"note: {error}: no site counts as drained", flush=True)
        return set()
