"""A ClientApp that computes each reply once and repeats it in later runs, which cost only the coordinator."""

from __future__ import annotations

from copy import deepcopy

from flwr.app import Context, Message, RecordDict
from flwr.clientapp import ClientApp


class ReplayedApp:
    """Answers a request of a run with the reply to the same request of the first run.

    The same request is one of the same type, node, site, phase, round and split, whatever weights it has.

    Parameters
    ----------
    app : computes the replies of the first run
    """

    def __init__(self, app: ClientApp) -> None:
        self.app = app
        self._contents: dict[tuple, RecordDict] = {}

    def __call__(self, message: Message, context: Context) -> Message:
        config = message.content.config_records.get("config", {})
        to = message.metadata
        settings = [str(config.get(key)) for key in ("phase", "server-round", "split", "splits")]
        key = (to.message_type, to.dst_node_id, to.group_id, *settings)
        if key not in self._contents:
            reply = self.app(message, context)
            if reply.has_error():
                return reply
            self._contents[key] = reply.content
        return Message(deepcopy(self._contents[key]), reply_to=message)
