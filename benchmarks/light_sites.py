"""Sites that answer from memory without training: many of them fit into one process.

Each speaks the protocol of Flower's SuperNode by the functions of the SuperNode: gRPC with TLS and its own
key, heartbeats, objects of messages one by one. It has no SuperExec and no process for an app. It describes
itself by the ClientApp of this project, and answers training with the weights that it was sent, slightly
changed, so that the reply of every site is stored and sent on by itself.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from cryptography.hazmat.primitives.serialization import load_ssh_private_key
from flwr.app import Context, Message, MetricRecord, RecordDict
from flwr.client.grpc_rere_client.connection import grpc_request_response
from flwr.common.config import get_fused_config_from_fab
from flwr.supercore.inflatable.inflatable_object import (
    get_all_nested_objects,
    get_object_tree,
    no_object_id_recompute,
)
from flwr.supercore.inflatable.inflatable_utils import pull_and_inflate_object_from_tree, push_objects
from flwr.supercore.retry import make_simple_grpc_retry_invoker
from flwr.supercore.run import RunNotRunningException
from flwr.supercore.task_identity import TaskIdentity
from grpc import RpcError

from client_app.app import app
from client_app.node.request import to_record
from condi_core.protocol import SCORE_PREFIX
from condi_core.serialization import unpack_arrays

POLL_SECONDS = (0.2, 3.0)  # shortest and longest wait before the next message is asked for
CHANGE = 1e-3  # of all weights, times the number of the site


class LightSite:
    """One node, whose thread runs until `stop`.

    Parameters
    ----------
    number : int
        Of the site, from 0.
    address : str
        Of the SuperLink's Fleet API.
    credentials : Path
        Folder with `ca.crt` and `site.key`.
    data : Path
        Partition, from which the site describes itself.
    trained : collection of str
        Names of the weights that training changes.
    scores : mapping of str to tuple of int
        Shapes of the sums of an evaluation.
    replicates : mapping of str to tuple of int
        Shapes of the replicates of these sums, which come with those of test windows.
    """

    def __init__(
        self,
        number: int,
        address: str,
        credentials: Path,
        data: Path,
        trained: Collection[str],
        scores: Mapping[str, tuple[int, ...]],
        replicates: Mapping[str, tuple[int, ...]],
    ) -> None:
        self.number = number
        self.address = address
        self.credentials = credentials
        self.data = data
        self.trained = trained
        self.scores = {name: np.ones(shape) for name, shape in scores.items()}
        self.replicates = {name: np.zeros(shape, np.float32) for name, shape in replicates.items()}
        self.answered = 0
        self.stopping = threading.Event()
        self.thread = threading.Thread(target=self._run, daemon=True)

    def _run(self) -> None:
        key = load_ssh_private_key((self.credentials / "site.key").read_bytes(), None)
        retry = make_simple_grpc_retry_invoker()
        retry.recoverable_exceptions = RpcError
        certificates = (self.credentials / "ca.crt").read_bytes()
        connection = grpc_request_response(
            self.address, False, retry, root_certificates=certificates,
            authentication_keys=(key, key.public_key()),
        )  # fmt: skip
        with connection as functions:
            self.node_id, self.receive, self.send, self.get_run, self.get_fab, *objects = functions
            self.pull_object, self.push_object, self.confirm = objects
            active, last_gap = time.monotonic(), 0.0
            while not self.stopping.is_set():
                try:
                    has_answered = self._answer_next()
                except RunNotRunningException:
                    has_answered = False
                idle = time.monotonic() - active
                if has_answered:
                    active, last_gap, idle = time.monotonic(), idle, 0.0
                shortest, longest = POLL_SECONDS
                self.stopping.wait(min(max(0.1 * idle, 0.1 * last_gap, shortest), longest))

    def _answer_next(self) -> bool:
        """Answer a message if there is one, as `flwr.supernode.start_client_internal` and an app do."""
        received = self.receive()
        if received is None:
            return False
        start, (header, tree) = time.monotonic(), received
        run_id = header.metadata.run_id
        message = pull_and_inflate_object_from_tree(
            tree,
            lambda object_id: self.pull_object(run_id, object_id),
            lambda object_id: self.confirm(run_id, object_id),
            return_type=Message,
            initial_backoff=POLL_SECONDS[0],
        )
        message.metadata.__dict__["_message_id"] = tree.object_id
        if message.metadata.message_type == "query.describe":
            reply = self._describe(message)
        else:
            reply = Message(self._answer_from_memory(message), reply_to=message)
            reply.content.metric_records["metrics"]["seconds"] = 0.0  # so that all time is overhead
        reply.metadata.__dict__["_message_id"] = reply.object_id
        with no_object_id_recompute():
            missing, session = self.send(reply, get_object_tree(reply), time.monotonic() - start)
            push_objects(
                get_all_nested_objects(reply),
                lambda object_id, content: self.push_object(run_id, session, object_id, content),
                object_ids_to_push=missing,
            )
        self.answered += 1
        return True

    def _describe(self, message: Message) -> Message:
        run = self.get_run(message.metadata.run_id)
        settings = get_fused_config_from_fab(self.get_fab(run.fab_hash, run.run_id).content, run)
        node = {"data": str(self.data), "cache": str(self.data / "cache"), "device": "cpu"}
        return app(message, Context(run.run_id, self.node_id, node, RecordDict(), settings))

    def _answer_from_memory(self, message: Message) -> RecordDict:
        settings = message.content.config_records["config"]
        if message.metadata.message_type.startswith("evaluate"):
            metrics = MetricRecord({"loss-sum": 1.0, "windows": 1.0})
            sums = self.scores | (self.replicates if settings["split"] == "test" else {})
            return RecordDict({"arrays": to_record(sums), "metrics": metrics})
        state = unpack_arrays(message.content["arrays"])
        arrays = {name: state[name] + np.float32(CHANGE * self.number) for name in self.trained}
        metrics = {"windows": 8.0, "loss": 1.0, "steps": 1, "counts": [8.0] * 16}
        if settings["evaluate"]:
            arrays |= {SCORE_PREFIX + name: sums for name, sums in self.scores.items()}
            metrics |= {f"{SCORE_PREFIX}loss-sum": 1.0, f"{SCORE_PREFIX}windows": 1.0}
        return RecordDict({"arrays": to_record(arrays), "metrics": MetricRecord(metrics)})


@contextmanager
def light_sites(sites: list[LightSite]) -> Iterator[list[LightSite]]:
    """Run these sites with the `with` block."""
    TaskIdentity.run_id = TaskIdentity.node_id = TaskIdentity.task_id = 1  # without which no Message is made
    for site in sites:
        site.thread.start()
    try:
        yield sites
    finally:
        for site in sites:
            site.stopping.set()
        for site in sites:
            site.thread.join(timeout=10)
