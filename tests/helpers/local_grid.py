"""A Flower Grid inside the process: real ServerApp code, real ClientApp, no engine."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from copy import deepcopy
from uuid import uuid4

from flwr.app import Context, Error, Message, RecordDict
from flwr.clientapp import ClientApp
from flwr.proto.node_pb2 import NodeInfo
from flwr.serverapp import Grid
from flwr.supercore.task_identity import TaskIdentity

Tamper = Callable[[Message, Message], Message | None]


class LocalGrid(Grid):
    """Nodes with the given node configs; `tamper(request, reply)` may change or drop (None) a reply."""

    def __init__(
        self, app: ClientApp, node_configs: list[dict], run_config: dict, tamper: Tamper | None = None
    ) -> None:
        TaskIdentity.run_id = TaskIdentity.node_id = TaskIdentity.task_id = 1
        self.app = app
        self.tamper = tamper
        self.replies: dict[str, Message] = {}
        self.sent: list[Message] = []
        self.received: list[Message] = []
        self.contexts = {
            1000 + i: Context(
                run_id=1, node_id=1000 + i, node_config=node, state=RecordDict(), run_config=dict(run_config)
            )
            for i, node in enumerate(node_configs)
        }

    def set_run(self, run) -> None: ...

    @property
    def run(self):
        raise NotImplementedError

    def create_message(self, *args, **kwargs):
        raise NotImplementedError

    def get_node_ids(self) -> list[int]:
        return list(self.contexts)

    def get_nodes(self):
        names = [node.node_config.get("registered", "") for node in self.contexts.values()]
        nodes = zip(self.get_node_ids(), names, strict=False)
        return [NodeInfo(node_id=node, name=name) for node, name in nodes]

    def push_messages(self, messages: Iterable[Message]) -> list[str]:
        ids = []
        for message in messages:
            message.metadata.__dict__["_message_id"] = id_ = uuid4().hex
            self.sent.append(message)
            if message.metadata.dst_node_id not in self.contexts:
                continue  # as a SuperLink, which drops messages to nodes that it does not know
            try:
                # A copy: the messages of a round share one record of arrays.
                reply = self.app(deepcopy(message), self.contexts[message.metadata.dst_node_id])
            except Exception as error:
                reply = Message(Error(code=2, reason=repr(error)), reply_to=message)
            if self.tamper:
                reply = self.tamper(message, reply)
            if reply is not None:
                self.received.append(reply)
                self.replies[id_] = deepcopy(reply)
            ids.append(id_)
        return ids

    def pull_messages(self, message_ids: Iterable[str]):
        return [self.replies.pop(i) for i in message_ids if i in self.replies]

    def send_and_receive(self, messages, *, timeout=None):
        return self.pull_messages(self.push_messages(messages))
