"""Where the policy of a site stands: between Flower's SuperNode and its SuperLink.

The SuperNode gets one message at a time, stores it for a process of the app, and sends the reply of that
process. Two functions of `flwr.supernode.start_client_internal` do that. They are replaced here, so that no
app starts for a message that the policy refuses, and no reply leaves before it is in the audit log. The code
of the run has no part in this: it runs in other processes.
"""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Callable
from contextlib import suppress
from datetime import datetime
from pathlib import Path
from typing import Any, NamedTuple

from flwr.app import Message
from flwr.common.config import get_fused_config_from_fab
from flwr.common.constant import ErrorCode
from flwr.supercore.constant import TaskType
from flwr.supercore.fab import Fab
from flwr.supercore.inflatable.inflatable_object import iterate_object_tree
from flwr.supercore.inflatable.inflatable_utils import inflate_object_from_contents
from flwr.supercore.run import Run, RunNotRunningException
from flwr.supernode import start_client_internal as node_loop

from client_app.join.accepted_code import find_code_refusal
from client_app.join.admission import AnsweredRuns, find_refusal
from client_app.join.app_watch import AppWatch, store_error_reply
from client_app.join.reply_summary import summarise_reply
from client_app.node.audit_log import append_entry, read_entries
from client_app.node.site_policy import SitePolicy
from condi_core.protocol import POLICY_REFUSED

POLL_SECONDS = 0.1  # while an app hands over its reply
UNWRITABLE_LOG = "its audit log cannot be written, without which it answers nothing"
MAX_ASKED_RUNS = 8  # of which the gate keeps app and settings; those of another run are fetched again


class IncompleteReplyError(Exception):
    """A part of a reply is missing and will not come."""


class _AskedRun(NamedTuple):
    run: Run
    fab: Fab
    settings: dict[str, Any]
    code_refusal: str


class Gate:
    """Checks messages before an app sees them, and records replies before they leave.

    Parameters
    ----------
    policy : SitePolicy
    log : Path
        The audit log. What the site has answered before is read from it.
    superlink : str
        Address of the SuperLink, which the log names.

    Raises
    ------
    AuditLogError
        The log was changed.
    OSError
        The log cannot be read or written.
    """

    def __init__(self, policy: SitePolicy, log: Path, superlink: str) -> None:
        self.policy = policy
        self.log = log
        self.superlink = superlink
        self.answered = AnsweredRuns.from_log(read_entries(log) if log.exists() else [])
        self._runs: dict[int, _AskedRun] = {}
        self._refusals: set[str] = set()  # ids of replies that the log has already
        self._watch: AppWatch | None = None  # of the message that an app works on
        defaults = SitePolicy().model_dump(mode="json", by_alias=True)
        keys = policy.model_dump(mode="json", by_alias=True).items()
        changes = {key: value for key, value in keys if value != defaults[key]}
        append_entry(log, "start", superlink=superlink, policy=policy.digest, policy_changes=changes)

    def install(self) -> None:
        """Put this gate into Flower's loop of this process."""
        pull, push = node_loop._pull_and_store_message, node_loop._push_messages

        def pull_admitted(**arguments: Any) -> int | None:
            return self.pull(pull, arguments)

        def push_recorded(**arguments: Any) -> None:
            self.push(push, arguments)

        node_loop._pull_and_store_message = pull_admitted  # type: ignore[assignment]
        node_loop._push_messages = push_recorded  # type: ignore[assignment]

    def pull(self, pull: Callable[..., int | None], arguments: dict[str, Any]) -> int | None:
        """Receive a message; let Flower store it if it is admitted, and else reply why it is not.

        Parameters
        ----------
        pull : callable
            Flower's function.
        arguments : dict
            Its arguments.

        Returns
        -------
        int or None
            Number of the run whose reply is to be sent, if there was a message.
        """
        self._watch = None
        try:
            received = arguments["receive"]()
        except RunNotRunningException:  # the run ended while its message was on the way
            return None
        if received is None:
            return None
        message, _ = received
        run_id = message.metadata.run_id
        try:
            reason = self.find_refusal(message, arguments["get_run"], arguments["get_fab"])
        except RunNotRunningException:
            return None
        except OSError as error:
            print(f"condi: the audit log {self.log} cannot be written: {error.strerror}", flush=True)
            reason = UNWRITABLE_LOG
        except Exception as error:  # whatever a coordinator sends, the node goes on
            reason = f"its policy could not be checked ({type(error).__name__})"
        if reason:
            return self._refuse(message, POLICY_REFUSED, reason, arguments)
        asked = self._runs[run_id]
        node_config = arguments["node_config"] | {"policy": self.policy.to_json(), "audit": str(self.log)}
        admitted = {
            "receive": lambda: received,
            "get_run": lambda _: asked.run,
            "get_fab": lambda *_: asked.fab,
            "node_config": node_config,
        }
        stored = pull(**arguments | admitted)
        if stored is None:  # Flower's log says why
            reason = "it could not receive the whole message"
            return self._refuse(message, ErrorCode.UNKNOWN, reason, arguments)
        state, store = arguments["state"], arguments["object_store"]
        self._watch = AppWatch(state, store, message, arguments["get_run"])
        return stored

    def push(self, push: Callable[..., None], arguments: dict[str, Any]) -> None:
        """Let Flower wait for a reply, and send it when the log has it; else send the reason why it has not.

        Parameters
        ----------
        push : callable
            Flower's function.
        arguments : dict
            Its arguments.
        """
        send, store, watch = arguments["send"], arguments["object_store"], self._watch
        failure = ""

        def record_and_send(message: Message, tree: Any, seconds: float) -> Any:
            nonlocal failure
            if watch and watch.run_has_ended:
                raise RunNotRunningException
            try:
                self.record(message, tree, store)
            except OSError as error:
                print(f"condi: the audit log {self.log} cannot be written: {error.strerror}", flush=True)
                failure = UNWRITABLE_LOG
                raise
            except IncompleteReplyError:
                failure = "the app's process has ended before it handed over its whole reply"
                raise
            except Exception as error:
                failure = f"its reply cannot be recorded ({type(error).__name__})"
                raise
            return send(message, tree, seconds)

        arguments = arguments | {"send": record_and_send}
        push(**arguments | ({"state": watch} if watch else {}))
        if failure and watch:
            self._watch = None
            self._refuse(watch.message, ErrorCode.CLIENT_APP_CRASHED, failure, arguments)
            push(**arguments)

    def find_refusal(
        self, message: Message, get_run: Callable[[int], Run], get_fab: Callable[[str, int], Fab]
    ) -> str:
        """Return why a message is not answered, as a sentence about this site; empty if it is answered."""
        run_id, kind = message.metadata.run_id, message.metadata.message_type
        now = datetime.now().astimezone()
        if run_id not in self._runs:
            self._runs[run_id] = self._read_run(get_run(run_id), get_fab)
            if len(self._runs) > MAX_ASKED_RUNS:
                del self._runs[next(iter(self._runs))]
        asked = self._runs[run_id]
        reason = asked.code_refusal or find_refusal(
            self.policy, kind, run_id, asked.settings, self.answered, now
        )
        if not reason and run_id not in self.answered.days:
            self._record_run(run_id, asked)
            self.answered.add_run(run_id, now.date())
        return reason

    def _read_run(self, run: Run, get_fab: Callable[[str, int], Fab]) -> _AskedRun:
        fab = get_fab(run.fab_hash, run.run_id)
        if run.primary_task_type not in ("", TaskType.SERVER_APP):
            return _AskedRun(run, fab, {}, f"it runs ClientApps, and not {run.primary_task_type}")
        if hashlib.sha256(fab.content).hexdigest() != run.fab_hash:
            return _AskedRun(run, fab, {}, "the app that it received is not the one that the run names")
        if reason := find_code_refusal(fab.content, self.policy.accepted_apps):
            return _AskedRun(run, fab, {}, reason)
        return _AskedRun(run, fab, dict(get_fused_config_from_fab(fab.content, run)), "")

    def _record_run(self, run_id: int, asked: _AskedRun) -> None:
        settings = json.dumps(asked.settings, sort_keys=True).encode()
        append_entry(
            self.log,
            "run",
            run=run_id,
            superlink=self.superlink,
            account=asked.run.account_name,
            app=asked.run.fab_hash,
            settings_sha256=hashlib.sha256(settings).hexdigest(),
            changed_settings=dict(asked.run.override_config),
        )

    def _refuse(self, message: Message, code: int, reason: str, arguments: dict[str, Any]) -> int:
        """Reply with the reason instead of an app, and record it."""
        run_id, kind = message.metadata.run_id, message.metadata.message_type
        print(f"condi: this site refused {kind} of run {run_id}: {reason}", flush=True)
        with suppress(OSError):  # a refusal contains nothing of the site's data
            append_entry(self.log, "refusal", run=run_id, message=kind, reason=reason)
        reply = store_error_reply(message, code, reason, arguments["state"], arguments["object_store"])
        self._refusals.add(reply.metadata.message_id)
        return run_id

    def record(self, reply: Message, tree: Any, store: Any) -> None:
        """Wait until a reply is complete, and append to the log what it contains.

        Parameters
        ----------
        reply : Message
            Without its content.
        tree : ObjectTree
            The objects of the reply.
        store : ObjectStore
            Where the app puts their contents.

        Raises
        ------
        OSError
            The log cannot be written.
        IncompleteReplyError
            The app has ended before it handed over the whole reply.
        """
        if reply.metadata.message_id in self._refusals:
            self._refusals.remove(reply.metadata.message_id)
            return
        run_id, kind = reply.metadata.run_id, reply.metadata.message_type
        contents: dict[str, bytes] = {}
        for node in iterate_object_tree(tree):
            while not (content := store.get(node.object_id)):
                if content is None or (self._watch and not self._watch.is_app_at_work()):
                    # It may have handed over the rest just before it ended.
                    if content := store.get(node.object_id):
                        break
                    raise IncompleteReplyError
                time.sleep(POLL_SECONDS)
            contents[node.object_id] = content
        whole = inflate_object_from_contents(tree.object_id, dict(contents))
        summary = summarise_reply(whole, contents.values())  # type: ignore[arg-type]
        append_entry(self.log, "reply", run=run_id, message=kind, **summary)
        if "error" not in summary:
            self.answered.messages[run_id, kind] += 1
