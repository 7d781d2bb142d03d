"""Receive replies object by object, so that a site that is still sending holds up no other.

Flower's `Grid.pull_messages` takes a reply as soon as a site begins to send it, and waits until all of it has
come. On a slow line that is minutes, in which neither the replies of other sites nor time-outs are noticed.
This module asks the SuperLink for the objects of all replies in turn instead, by the client of `HttpGrid`.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from typing import Any, cast

from flwr.app import Error, Message
from flwr.app.message import make_message
from flwr.common.constant import ErrorCode
from flwr.common.serde import message_from_proto
from flwr.proto.message_pb2 import ConfirmMessageReceivedRequest
from flwr.proto.runtime_pb2 import PullAppMessagesRequest
from flwr.serverapp import Grid
from flwr.supercore.inflatable.inflatable_object import iterate_object_tree
from flwr.supercore.inflatable.inflatable_protobuf_utils import make_pull_object_fn_protobuf
from flwr.supercore.inflatable.inflatable_utils import (
    ObjectPullError,
    ObjectUnavailableError,
    inflate_object_from_contents,
)
from flwr.superlink.grid.http_grid import HttpGrid

from server_app.federation.observed_grid import ObservedGrid


@dataclass
class _Incoming:
    """A reply that a site has begun to send."""

    header: Message
    missing: list[str]  # ids of objects that have not been received; the last one is sent next
    contents: dict[str, bytes] = field(default_factory=dict)


class ReplyPuller:
    """Receives the replies of a run.

    Parameters
    ----------
    grid : Grid
        Of a deployment; any other grid receives replies by itself.
    """

    def __init__(self, grid: Grid) -> None:
        self._observer = grid if isinstance(grid, ObservedGrid) else None
        self._grid: Any = grid if self._observer is None else self._observer.grid
        self._incoming: dict[str, _Incoming] = {}  # by id of the request

    def pull(self, ids: Collection[str], discard: bool = False) -> list[Message]:
        """Return the replies to the requests with these ids that have come completely.

        With `discard`, they have no contents.
        """
        replies = self._pull(ids, discard)
        if self._observer is not None:
            self._observer.note_replies(replies)
        return replies

    def _pull(self, ids: Collection[str], discard: bool) -> list[Message]:
        if not isinstance(self._grid, HttpGrid):
            return list(self._grid.pull_messages(list(ids)))
        self._receive_headers([id_ for id_ in ids if id_ not in self._incoming])
        replies = []
        for id_ in [id_ for id_ in ids if id_ in self._incoming]:
            incoming = self._incoming[id_]
            try:
                self._receive_objects(incoming, discard)
            except ObjectUnavailableError:
                continue
            except ObjectPullError:
                reason = "its connection broke while it sent its reply"
                error = Error(ErrorCode.MESSAGE_UNAVAILABLE, reason)
                replies.append(make_message(incoming.header.metadata, error=error))
            else:
                replies.append(self._finish(incoming, discard))
            del self._incoming[id_]
        return replies

    def _receive_headers(self, ids: Sequence[str]) -> None:
        if not ids:
            return
        answer = self._client.PullMessages(PullAppMessagesRequest(message_ids=ids))
        for header, tree in zip(answer.messages_list, answer.message_object_trees, strict=True):
            objects = [node.object_id for node in iterate_object_tree(tree)]
            incoming = _Incoming(message_from_proto(header), list(dict.fromkeys(objects))[::-1])
            self._incoming[incoming.header.metadata.reply_to_message_id] = incoming

    def _receive_objects(self, incoming: _Incoming, discard: bool) -> None:
        """Receive objects until one has not been sent yet: ObjectUnavailableError."""
        pull = make_pull_object_fn_protobuf(self._client.PullObject, self._grid.node, self._grid.run.run_id)
        while incoming.missing:
            content = pull(incoming.missing[-1])
            id_ = incoming.missing.pop()
            if not discard:
                incoming.contents[id_] = content

    def _finish(self, incoming: _Incoming, discard: bool) -> Message:
        """Let the SuperLink forget a reply, and return it."""
        id_, run_id = incoming.header.metadata.message_id, self._grid.run.run_id
        request = ConfirmMessageReceivedRequest(node=self._grid.node, run_id=run_id, message_object_id=id_)
        self._client.ConfirmMessageReceived(request)
        if discard:
            return incoming.header
        reply = cast(Message, inflate_object_from_contents(id_, incoming.contents))
        reply.metadata.__dict__["_message_id"] = id_
        return reply

    @property
    def _client(self) -> Any:
        return self._grid._runtime_client
