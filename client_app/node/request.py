"""From a message to what it asks for, and from what a site found to its reply.

Requests carry a ConfigRecord `config` and, where a model travels, an ArrayRecord `arrays`, packed into one
array. Replies carry `arrays`, and numbers in a MetricRecord `metrics`. What goes wrong becomes an error
reply of one sentence; the details stay in the site's own log, as they may name records.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass, field
from functools import cached_property, wraps
from pathlib import Path
from typing import Any

import numpy as np
import platformdirs
import torch
from flwr.app import Array, ArrayRecord, Context, Error, Message, MetricRecord, RecordDict
from torch import nn

from client_app.device import exclusive_use, find_device
from client_app.node.completions import CompletionMissing
from client_app.node.site import Site, is_virtual, partitions_of_node, pooled
from condi_core.config import ConfigError, RunConfig
from condi_core.protocol import COMPLETIONS_MISSING, POOLED_SITE, fingerprint
from condi_core.serialization import PACKED, PackingError, from_bytes, to_bytes
from condi_core.training import derive_seed
from data_partitions import DataError
from data_partitions.partition import Partition

FAILED = 2  # Flower's code for a client app that failed


class VersionMismatch(RuntimeError):
    """The coordinator runs other code than this site."""


@dataclass(frozen=True)
class Request:
    """What the coordinator asks of one site."""

    message: Message
    context: Context
    start: float = field(default_factory=time.monotonic)

    @cached_property
    def settings(self) -> dict[str, Any]:
        return dict(self.message.content["config"])

    @cached_property
    def config(self) -> RunConfig:
        return RunConfig.from_flat(dict(self.context.run_config))

    @property
    def partitions(self) -> dict[str, Path]:
        return partitions_of_node(self.context, self.settings["federation"])

    def site(self, name: str | None = None, check: bool = False) -> Site:
        """The site asked for, or `name`; `check` reads through its values once."""
        name = name or self.settings["site"]
        node = self.context.node_config
        cache = Path(str(node.get("cache", platformdirs.user_cache_path("condi") / "completed")))
        if name == POOLED_SITE and is_virtual(self.context):
            pool, config = pooled(self.settings["federation"], self.config)
            return Site(name, pool, config, self.device, cache)
        paths = self.partitions
        if name not in paths:
            raise DataError(f'this node has no site "{name}": it has {", ".join(paths) or "none"}')
        partition = Partition.open(paths[name], check)
        partition.require_measured()
        return Site(name, partition, self.config, self.device, cache)

    @property
    def device(self) -> torch.device:
        return find_device(str(self.context.node_config.get("device", "auto")))

    def load(self, model: nn.Module, device: torch.device) -> nn.Module:
        """`model` with the weights that came with the message."""
        arrays = to_numpy(self.message.content["arrays"])
        model.load_state_dict({name: torch.from_numpy(a) for name, a in arrays.items()})
        return model.to(device).eval()

    @property
    def seed(self) -> int:
        """Of everything random in this part of the run: from run seed, phase, round and site alone."""
        s = self.settings
        return derive_seed(self.config.seed, s["phase"], s["server-round"], s["site"])

    @property
    def deadline(self) -> float:
        """When to stop training so that the reply still arrives in time, on the monotonic clock."""
        return self.start + 0.8 * self.config.round_timeout


def handler(handler: Callable[[Request], RecordDict]) -> Callable[[Message, Context], Message]:
    """Wrap a handler: check the version, time it, and turn expected failures into one-sentence replies."""

    @wraps(handler)
    def answer(message: Message, context: Context) -> Message:
        request = Request(message, context)
        watchdog = _Watchdog(request)
        try:
            watchdog.start()
            if request.settings["fingerprint"] != fingerprint():
                raise VersionMismatch(
                    f"this site runs condi_core {fingerprint()}, the coordinator "
                    f"{request.settings['fingerprint']}: install the same version at both"
                )
            # In a simulation Ray shares out the cards.
            with nullcontext() if is_virtual(context) else exclusive_use(request.device):
                reply = handler(request)
        except CompletionMissing as error:
            return Message(Error(COMPLETIONS_MISSING, str(error)), reply_to=message)
        except (ConfigError, FloatingPointError, VersionMismatch, torch.OutOfMemoryError) as error:
            return _error_reply(request, str(error), str(error))
        except PackingError as error:
            why = f"the coordinator's message cannot be used: {error}"
            return _error_reply(request, why, why)
        except (DataError, OSError) as error:
            # The sentence may name records and paths: for the site's own log.
            return _error_reply(request, str(error), "the site's data cannot be used; its own log says why")
        finally:
            watchdog.cancel()
        reply.setdefault("metrics", MetricRecord({}))["seconds"] = time.monotonic() - request.start
        return Message(reply, reply_to=message)

    return answer


def _error_reply(request: Request, why: str, told: str) -> Message:
    """Say why in the site's own log, and what may be told to the coordinator."""
    print(f"condi: {why}", flush=True)
    told = why if is_virtual(request.context) else told
    return Message(Error(FAILED, told), reply_to=request.message)


class _Watchdog(threading.Timer):
    """Ends a hospital's client process that hangs past the round, as its node would wait for it forever."""

    def __init__(self, request: Request) -> None:
        super().__init__(0, self.bite)
        self.request, self.daemon = request, True

    def start(self) -> None:
        if not is_virtual(self.request.context):  # where many sites share one process
            self.interval = self.request.config.round_timeout
            super().start()

    def bite(self) -> None:
        print(f"condi: gave up after {self.interval:g} s: the coordinator no longer waits", flush=True)
        os._exit(1)


def to_numpy(record: ArrayRecord) -> dict[str, np.ndarray]:
    return from_bytes({name: array.data for name, array in record.items()})


def to_record(arrays: dict[str, np.ndarray]) -> ArrayRecord:
    return packed_record(to_bytes(arrays))


def packed_record(packed: bytes) -> ArrayRecord:
    return ArrayRecord({PACKED: Array("uint8", (len(packed),), PACKED, packed)})


def training_reply(model: nn.Module, result: dict[str, Any]) -> RecordDict:
    """Reply of a training round: the trained weights, and what they weigh in the average.

    As in FedAvg a site weighs by its training windows, not by its local steps; of these a modality counts
    for the share in which it was seen among the windows of the round.
    """
    present = result["present"].astype(np.float64)
    share = present.T @ present / len(present)
    weights = {n: p.detach().cpu().numpy() for n, p in model.named_parameters() if p.requires_grad}
    metrics = {
        "windows": float(result["windows"]),
        "counts": (result["windows"] * share).ravel().tolist(),
        "loss": float(result["loss"]),
        "steps": int(result["steps"]),
    }
    return RecordDict({"arrays": to_record(weights), "metrics": MetricRecord(metrics)})
