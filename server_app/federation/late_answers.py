"""Requests for which a round did not wait to the end. What sites answer to them is discarded."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from flwr.app import Error, Message

from server_app.federation.reply_pulling import ReplyPuller

NOT_SENT = "not sent"  # in place of a message id
NOT_AWAITED = 499  # error code of requests that a quorum made superfluous, or that were not sent


@dataclass(frozen=True)
class _Late:
    node: int
    site: str
    what: str
    activation: str  # when the node was started; one that was restarted has lost the request
    deadline: float  # on the monotonic clock, when the site itself gives up


class LateAnswers:
    """The outstanding requests of a run. A site that still works on one is not asked anything else.

    Parameters
    ----------
    puller : ReplyPuller
        Of the run. A reply of which it has received a part may become a late one.
    """

    def __init__(self, puller: ReplyPuller) -> None:
        self.puller = puller
        self._late: dict[str, _Late] = {}  # by message id

    def add(self, requests: Mapping[str, Message], activations: Mapping[int, str], deadline: float) -> None:
        """Remember requests that have been sent, by their message ids."""
        for id_, request in requests.items():
            node = request.metadata.dst_node_id
            what, activation = _describe(request), activations.get(node, "")
            self._late[id_] = _Late(node, request.metadata.group_id, what, activation, deadline)

    def collect(self, activations: Mapping[int, str]) -> None:
        """Receive what has arrived, discard it, and forget requests that can have no answer any more."""
        for reply in self.puller.pull(self._late.keys(), discard=True) if self._late else ():
            late = self._late.pop(reply.metadata.reply_to_message_id, None)
            if late and not reply.has_error():
                end = "after it had ended: the answer is discarded"
                print(f"{late.site} answered {late.what} {end}", flush=True)
        for id_, late in list(self._late.items()):
            if activations.get(late.node, late.activation) != late.activation:
                del self._late[id_]

    def refuse_busy(self, requests: Sequence[Message]) -> list[Message]:
        """Return an error reply for each request to a site that still works on another."""
        now = time.monotonic()
        busy = {late.node: late.what for late in self._late.values() if now < late.deadline}
        return [
            not_awaited(request, f"it was not asked, as it still works on {busy[node]}")
            for request in requests
            if (node := request.metadata.dst_node_id) in busy
        ]


def not_awaited(request: Message, reason: str) -> Message:
    """Return an error reply that stands for the answer that was not awaited."""
    if not request.metadata.message_id:  # it has one only when it has been sent
        request.metadata.__dict__["_message_id"] = NOT_SENT
    return Message(Error(NOT_AWAITED, reason), reply_to=request)


def _describe(request: Message) -> str:
    settings: dict[str, Any] = dict(request.content.config_records["config"])
    return f"round {settings['server-round']} of {settings['phase']}"
