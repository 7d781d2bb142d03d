"""What a node does while an app works on a message. Flower itself only waits for the reply, for any time.

The node gives up when the run has ended, and replies with an error when the app cannot reply any more.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Any

from flwr.app import Error, Message
from flwr.common.constant import ErrorCode, Status, SubStatus
from flwr.supercore.run import Run, RunNotRunningException
from flwr.supernode import start_client_internal as node_loop
from flwr.supernode.nodestate import NodeState

RUN_CHECK_SECONDS = 5.0  # between two questions to the SuperLink whether the run goes on
# An app is taken up within seconds; longer only while its libraries are read from a slow disk.
TAKE_UP_SECONDS = 50.0
NOT_TAKEN_UP = (
    f"no process has taken up the message within {TAKE_UP_SECONDS:g} s: check that condi superexec runs for "
    "this site, with the same secret"
)
UNEXPLAINED_END = "ClientApp task failed due to unknown reason"  # Flower's, of an app that gets a signal


class AppWatch:
    """Stands for the state of a node while Flower's loop waits for the reply to one message.

    Parameters
    ----------
    state : NodeState
        Of the node, with a task for the message.
    store : ObjectStore
        Of the node.
    message : Message
    get_run : callable
        Asks the SuperLink for a run, and raises RunNotRunningException when it has ended.

    Attributes
    ----------
    run_has_ended : bool
        Whether the reply is for nobody, since the run has ended.
    """

    def __init__(self, state: NodeState, store: Any, message: Message, get_run: Callable[[int], Run]) -> None:
        self.message = message
        self.run_has_ended = False
        self._state, self._store, self._get_run = state, store, get_run
        newest = state.get_tasks(
            run_ids=[message.metadata.run_id], order_by="pending_at", ascending=False, limit=1
        )
        self._task_ids = [task.task_id for task in newest]
        self._start = self._last_check = time.monotonic()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._state, name)

    def get_messages(self, **filters: Any) -> Sequence[Message]:
        """Return the reply of the app, or one with the reason why there will be none; else nothing."""
        if (replies := self._state.get_messages(**filters)) or not (reason := self._find_end()):
            return replies
        for task in self._task_ids:
            # Flower no longer accepts what the app hands over, at which the app ends.
            self._state.finish_task(task, sub_status=SubStatus.FAILED, details=reason)
        if replies := self._state.get_messages(**filters):  # at the last moment
            self.run_has_ended = False
            return replies
        metadata = self.message.metadata
        print(f"condi: gave up on {metadata.message_type} of run {metadata.run_id}: {reason}", flush=True)
        store_error_reply(self.message, ErrorCode.CLIENT_APP_CRASHED, reason, self._state, self._store)
        return self._state.get_messages(**filters)

    def is_app_at_work(self) -> bool:
        """Return whether the app may still hand something over."""
        tasks = self._state.get_tasks(task_ids=self._task_ids)
        return any(task.status.status != Status.FINISHED for task in tasks)

    def _find_end(self) -> str:
        """Return why there will be no reply; empty if there can be one."""
        now = time.monotonic()
        for task in self._state.get_tasks(task_ids=self._task_ids):
            if task.status.status == Status.FINISHED:
                details = task.status.details.removesuffix(".")
                if not details or details == UNEXPLAINED_END:
                    return "the app's process has ended before it replied"
                return details
            if task.status.status != Status.RUNNING and now - self._start > TAKE_UP_SECONDS:
                return NOT_TAKEN_UP
        if now - self._last_check > RUN_CHECK_SECONDS:
            self._last_check = now
            try:
                self._get_run(self.message.metadata.run_id)
            except RunNotRunningException:
                self.run_has_ended = True
                return "the run has ended"
            except Exception:  # whatever the SuperLink answers, the app works on
                return ""
        return ""


def store_error_reply(message: Message, code: int, reason: str, state: Any, store: Any) -> Message:
    """Put a reply with an error into the state of a node, and return it."""
    message_id = message.metadata.message_id
    reply = Message(Error(code, reason), reply_to=message)
    state.store_message(message)  # without which Flower complains that it knows no duration
    state.record_message_processing_start(message_id)
    state.record_message_processing_end(message_id)
    store.delete(message_id)  # what no app has fetched
    node_loop._insert_message(reply, state, store)
    return reply
