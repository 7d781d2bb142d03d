"""A Grid that notes which sites are asked and answer, without changing anything."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from flwr.app import Message
from flwr.serverapp import Grid

from server_app.artifacts.run_progress import RunProgress

CONFIG_NAMES = ("phase", "server-round", "split")  # of what a request is about
ROLL_CALL = ("query.describe", "query.left_out")  # before the first exchange of the run


class ObservedGrid(Grid):
    """Passes everything on to `grid`, and notes requests, replies and connected sites in `progress`."""

    def __init__(self, grid: Grid, progress: RunProgress) -> None:
        self.grid = grid
        self._progress = progress
        self._names: dict[int, str] = {}  # of registered nodes
        self._sites: dict[str, str] = {}  # id of a request → name of its site

    def __getattr__(self, name: str) -> Any:
        return getattr(self.grid, name)

    def set_run(self, run: Any) -> None:
        self.grid.set_run(run)

    @property
    def run(self) -> Any:
        return self.grid.run

    def create_message(self, *arguments: Any, **options: Any) -> Message:
        return self.grid.create_message(*arguments, **options)

    def get_node_ids(self) -> Iterable[int]:
        return self.grid.get_node_ids()

    def get_nodes(self) -> Iterable[Any]:
        nodes = list(self.grid.get_nodes())
        names = {node.node_id: node.name for node in nodes if node.name}
        self._names |= names
        if self._names:  # nodes of a simulation have no names
            self._progress.note_online(names.values())
        return nodes

    def push_messages(self, messages: Iterable[Message]) -> list[str]:
        requests = list(messages)
        self._note_requests(requests)
        ids = list(self.grid.push_messages(requests))
        self._sites |= {request.metadata.message_id: self._site_of(request) for request in requests}
        return ids

    def pull_messages(self, message_ids: Iterable[str]) -> list[Message]:
        replies = list(self.grid.pull_messages(message_ids))
        self.note_replies(replies)
        return replies

    def note_replies(self, replies: Iterable[Message]) -> None:
        """Note replies, which may have been received without this grid."""
        for reply in replies:
            self._progress.note_reply(self._sites.pop(reply.metadata.reply_to_message_id, ""))

    def send_and_receive(self, messages: Iterable[Message], *, timeout: float | None = None) -> list[Message]:
        requests = list(messages)
        self._note_requests(requests)
        replies = list(self.grid.send_and_receive(requests, timeout=timeout))
        for reply in replies:
            self._progress.note_reply(reply.metadata.group_id)
        return replies

    def _site_of(self, request: Message) -> str:
        """Return the site that a request is to; those of Flower's secure aggregation do not name it."""
        to = request.metadata
        return to.group_id or self._names.get(to.dst_node_id, "")

    def _note_requests(self, requests: list[Message]) -> None:
        kinds = {site: r.metadata.message_type for r in requests if (site := self._site_of(r))}
        if kinds and (kind := requests[0].metadata.message_type) not in ROLL_CALL:
            config = requests[0].content.config_records.get("config")
            about = {name: config[name] for name in CONFIG_NAMES if name in config} if config else {}
            self._progress.note_requests(kinds, {"kind": kind, **about})
