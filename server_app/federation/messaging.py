"""Send requests to sites and wait for their replies for as long as these can still arrive."""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Collection, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from flwr.app import Message
from flwr.serverapp import Grid

from data_partitions.sentences import list_some
from server_app.federation.exchange import count_parts
from server_app.federation.late_answers import LateAnswers, not_awaited
from server_app.federation.reply_pulling import ReplyPuller

POLL_SECONDS = 3.0  # longest time between two requests for new replies
MIN_POLL_SECONDS = 0.2
POLL_FRACTION = 0.05  # of the time since the requests: a reply is noticed at most this much later
WAITING_LINE_SECONDS = 30.0  # after which a line says for how long the run has been waiting
MAX_LISTED_NAMES = 5
MESSAGES_PER_PUSH = 8  # whose parts follow; sites that see a message ask for its parts until they are there


@dataclass(frozen=True)
class Quorum:
    """When an exchange has enough answers.

    Parameters
    ----------
    fraction : float
        Of the requests for updates, and of those for scores, whose answers are awaited. In a simulation all
        are.
    min_answers : int
        Smallest number of updates and of scores that are awaited, if so many were asked for.
    late : LateAnswers
        Outstanding requests of the run.
    """

    fraction: float
    min_answers: int
    late: LateAnswers

    def has(self, requests: Collection[Message], replies: Collection[Message]) -> bool:
        """Return whether there are enough replies, not counting errors."""
        ids = {reply.metadata.reply_to_message_id for reply in replies if not reply.has_error()}
        asked = count_parts(requests)
        answers = count_parts([request for request in requests if request.metadata.message_id in ids])
        return all(answers[part] >= self._enough(number) for part, number in asked.items())

    def _enough(self, asked: int) -> int:
        tolerance = 1e-9  # of products such as 0.55 * 100
        return min(asked, max(math.ceil(self.fraction * asked - tolerance), self.min_answers))


def send_and_receive(
    grid: Grid, requests: Iterable[Message], timeout: float, quorum: Quorum | None = None
) -> list[Message]:
    """Return the replies that arrive within `timeout` seconds, as `Grid.send_and_receive` does.

    Unlike that, it does not wait for a hospital's node that has been restarted since the request: such a
    node has lost the request, and Flower does not report that. With a quorum it does not wait for more
    answers than that, and an error reply says so for each of the others.
    """
    requests = list(requests)
    with report_waiting([request.metadata.group_id for request in requests]):
        started = _activations(grid)
        if not started:  # a simulation
            return list(grid.send_and_receive(requests, timeout=timeout))
        return _send_and_receive(grid, requests, timeout, started, quorum)


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


def _send_and_receive(
    grid: Grid, requests: list[Message], timeout: float, started: dict[int, str], quorum: Quorum | None
) -> list[Message]:
    puller = quorum.late.puller if quorum else ReplyPuller(grid)
    replies: list[Message] = []
    if quorum:
        quorum.late.collect(started)
        replies += quorum.late.refuse_busy(requests)
    refused = {reply.metadata.group_id for reply in replies}
    sent = [request for request in requests if request.metadata.group_id not in refused]
    pushed: set[str] = set()
    for first in range(0, len(sent), MESSAGES_PER_PUSH):
        pushed.update(grid.push_messages(sent[first : first + MESSAGES_PER_PUSH]))
    start = time.monotonic()
    waiting = {request.metadata.message_id: request for request in sent}
    waiting = {message: request for message, request in waiting.items() if message in pushed}
    lost: set[str] = set()
    has_quorum = False
    while waiting and not has_quorum and (elapsed := time.monotonic() - start) < timeout:
        new_replies = puller.pull(waiting.keys())
        replies += new_replies
        for reply in new_replies:
            waiting.pop(reply.metadata.reply_to_message_id, None)
        waiting = {message: request for message, request in waiting.items() if message not in lost}
        # Lost requests are dropped only after the next pull, because a node may have replied just before it
        # was restarted.
        now = _activations(grid)
        restarted = {node for node, when in now.items() if started.get(node, when) != when}
        lost = {message for message, request in waiting.items() if request.metadata.dst_node_id in restarted}
        if quorum:
            quorum.late.collect(now)
            has_quorum = quorum.has(requests, replies)
        if waiting and not has_quorum:
            time.sleep(min(max(POLL_FRACTION * elapsed, MIN_POLL_SECONDS), POLL_SECONDS))
    if quorum and waiting:
        quorum.late.add(waiting, started, start + timeout)
    if has_quorum:
        answers = sum(not reply.has_error() for reply in replies)
        reason = f"it had not answered when {answers} of {len(requests)} sites had, which is the quorum"
        replies += [not_awaited(request, reason) for request in waiting.values()]
    return replies


def _activations(grid: Grid) -> dict[int, str]:
    """Return when each registered node that is online was started."""
    return {n.node_id: n.last_activated_at for n in grid.get_nodes() if n.name and n.last_activated_at}
