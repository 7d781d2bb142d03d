"""Send requests to sites and wait for their replies for as long as these can still arrive."""

from __future__ import annotations

import threading
import time
from collections.abc import Collection, Iterable, Iterator
from contextlib import contextmanager

from flwr.app import Message
from flwr.serverapp import Grid

from data_partitions.sentences import list_some

POLL_SECONDS = 3.0  # longest time between two requests for new replies
MIN_POLL_SECONDS = 0.2
POLL_FRACTION = 0.05  # of the time since the requests: a reply is noticed at most this much later
WAITING_LINE_SECONDS = 30.0  # after which a line says for how long the run has been waiting
MAX_LISTED_NAMES = 5


def send_and_receive(grid: Grid, requests: Iterable[Message], timeout: float) -> list[Message]:
    """Return the replies that arrive within `timeout` seconds, as `Grid.send_and_receive` does.

    Unlike that, it does not wait for a hospital's node that has been restarted since the request: such a
    node has lost the request, and Flower does not report that.
    """
    requests = list(requests)
    with report_waiting([request.metadata.group_id for request in requests]):
        return _send_and_receive(grid, requests, timeout)


@contextmanager
def report_waiting(sites: Collection[str]) -> Iterator[None]:
    """Print every `WAITING_LINE_SECONDS` which sites were asked, and for how long the block has run."""
    names = list(dict.fromkeys(filter(None, sites)))
    listed = list_some(names, MAX_LISTED_NAMES) or f"{len(sites)} nodes"
    start, is_over = time.monotonic(), threading.Event()

    def print_lines() -> None:
        while not is_over.wait(WAITING_LINE_SECONDS):
            print(f"waiting for the replies of {listed}: {time.monotonic() - start:.0f} s so far", flush=True)

    thread = threading.Thread(target=print_lines, daemon=True)
    thread.start()
    try:
        yield
    finally:
        is_over.set()
        thread.join()


def _send_and_receive(grid: Grid, requests: list[Message], timeout: float) -> list[Message]:
    started = _activations(grid)
    if not started:  # a simulation
        return list(grid.send_and_receive(requests, timeout=timeout))
    pushed, start = set(grid.push_messages(requests)), time.monotonic()
    waiting = {r.metadata.message_id: r.metadata.dst_node_id for r in requests}
    waiting = {message: node for message, node in waiting.items() if message in pushed}
    replies: list[Message] = []
    lost: set[str] = set()
    while waiting and (elapsed := time.monotonic() - start) < timeout:
        new_replies = list(grid.pull_messages(list(waiting)))
        replies += new_replies
        for reply in new_replies:
            waiting.pop(reply.metadata.reply_to_message_id, None)
        waiting = {message: node for message, node in waiting.items() if message not in lost}
        # Lost requests are dropped only after the next pull, because a node may have replied just before it
        # was restarted.
        restarted = {node for node, when in _activations(grid).items() if started.get(node, when) != when}
        lost = {message for message, node in waiting.items() if node in restarted}
        if waiting:
            time.sleep(min(max(POLL_FRACTION * elapsed, MIN_POLL_SECONDS), POLL_SECONDS))
    return replies


def _activations(grid: Grid) -> dict[int, str]:
    """Return when each registered node that is online was started."""
    return {n.node_id: n.last_activated_at for n in grid.get_nodes() if n.name and n.last_activated_at}
