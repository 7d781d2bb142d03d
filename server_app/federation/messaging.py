"""Sending to sites and waiting for their replies, though no longer than there is hope."""

from __future__ import annotations

import time
from collections.abc import Iterable

from flwr.app import Message
from flwr.serverapp import Grid

POLL_SECONDS = 3.0  # seconds between looks


def send_and_receive(grid: Grid, messages: Iterable[Message], timeout: float) -> list[Message]:
    """Replies within `timeout` seconds, as of `Grid.send_and_receive`.

    It does not wait for a hospital's node that was started anew meanwhile: what it had been sent is lost, and
    Flower says nothing of that.
    """
    messages, before = list(messages), _activations(grid)
    if not before:  # a simulation
        return list(grid.send_and_receive(messages, timeout=timeout))
    pushed, end = set(grid.push_messages(messages)), time.monotonic() + timeout
    waiting = {m.metadata.message_id: m.metadata.dst_node_id for m in messages}
    waiting = {message: node for message, node in waiting.items() if message in pushed}
    replies: list[Message] = []
    lost: set[str] = set()
    while waiting and time.monotonic() < end:
        found = list(grid.pull_messages(list(waiting)))
        replies += found
        for reply in found:
            waiting.pop(reply.metadata.reply_to_message_id, None)
        waiting = {message: node for message, node in waiting.items() if message not in lost}
        # From the next look on, as a reply may have come just before this one.
        anew = {node for node, when in _activations(grid).items() if before.get(node, when) != when}
        lost = {message for message, node in waiting.items() if node in anew}
        if waiting:
            time.sleep(POLL_SECONDS)
    return replies


def _activations(grid: Grid) -> dict[int, str]:
    """When each registered node that is online was started."""
    return {n.node_id: n.last_activated_at for n in grid.get_nodes() if n.name and n.last_activated_at}
