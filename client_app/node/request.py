"""From the coordinator's message to a request of one site, and from the site's result to its reply.

Requests carry a ConfigRecord `config` and, where a model travels, a record `arrays` that is packed as one.
Replies carry `arrays`, and numbers in a MetricRecord `metrics`. A failure becomes an error reply of
one sentence; its details stay in the site's own log, as they may name records.
"""

from __future__ import annotations

import os
import threading
import time
import traceback
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass, field
from functools import cached_property, wraps
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import torch
from flwr.app import Array, ArrayRecord, ConfigRecord, Context, Error, Message, MetricRecord, RecordDict
from torch import nn

from client_app.device import exclusive_use, find_device
from client_app.node.completion_cache import default_cache
from client_app.node.completions import CompletionsMissingError
from client_app.node.site import Site, find_partitions, is_virtual, pool_sites
from client_app.node.site_policy import NO_POLICY, SitePolicy
from condi_core.config import ConfigError, RunConfig
from condi_core.methods import Method, PluginError, configure_method
from condi_core.protocol import COMPLETIONS_MISSING, POOLED_SITE, fingerprint
from condi_core.serialization import MAX_OBJECT_BYTES, PACKED, PackingError, to_bytes, unpack_arrays, widen
from condi_core.training import derive_seed
from data_partitions import DataError
from data_partitions.partition import Partition

CLIENT_APP_FAILED = 2  # Flower's error code for a client app that failed
TRAINING_FRACTION = 0.8  # of the round's time; the rest is for loading, sending and queueing

ModelType = TypeVar("ModelType", bound=nn.Module)


class VersionMismatchError(RuntimeError):
    """The coordinator runs other code than this site."""


@dataclass(frozen=True)
class Request:
    """A message of the coordinator to one site.

    Parameters
    ----------
    message : Message
    context : Context
        Of the node that received the message.
    start : float
        When the request came, on the monotonic clock.
    """

    message: Message
    context: Context
    start: float = field(default_factory=time.monotonic)

    @cached_property
    def settings(self) -> dict[str, Any]:
        """Settings of this request."""
        return dict(self.message.content.config_records["config"])

    @property
    def site_name(self) -> str:
        """The site that the request is addressed to, as a virtual node stands for several.

        All sites are sent the same records, which the SuperLink therefore has only once; only what Flower's
        protocol of secure aggregation sends has the name among the settings.
        """
        return str(self.settings.get("site", self.message.metadata.group_id))

    @cached_property
    def policy(self) -> SitePolicy:
        """Policy of the site, which its own node puts into the node config; none in a simulation."""
        text = self.context.node_config.get("policy")
        return NO_POLICY if text is None else SitePolicy.from_json(str(text))

    @cached_property
    def config(self) -> RunConfig:
        """Settings of the run, with the smallest count of the policy where that is larger."""
        config = RunConfig.from_flat(dict(self.context.run_config))
        smallest_count = max(config.privacy.smallest_count, self.policy.smallest_count)
        privacy = config.privacy.model_copy(update={"smallest_count": smallest_count})
        return config.model_copy(update={"privacy": privacy})

    @property
    def method(self) -> Method:
        """The method that the request is about; ConfigError when the site's policy does not allow it."""
        name = self.settings["method"]
        if name not in self.policy.methods:
            raise ConfigError(f"the policy of the site does not allow the method {name}")
        return configure_method(name, self.config)

    @property
    def evaluates(self) -> bool:
        """Whether the site scores the weights of a request to train, as the request asks and it may do."""
        evaluation = self.message.metadata.message_type.replace("train", "evaluate", 1)
        return bool(self.settings.get("evaluate")) and evaluation in self.policy.messages

    @property
    def partitions(self) -> dict[str, Path]:
        """Folders of the partitions behind this node, by name of the site."""
        return find_partitions(self.context, self.settings["federation"])

    def site(self, name: str | None = None, check: bool = False) -> Site:
        """Open a site of this node.

        Parameters
        ----------
        name : str, optional
            Default: the site that the request is addressed to.
        check : bool
            Read through the partition's values once.

        Raises
        ------
        DataError
            When this node has no such site, or its partition cannot be used.
        """
        name = name or self.site_name
        node = self.context.node_config
        cache = Path(str(node["cache"])) if "cache" in node else default_cache()
        if name == POOLED_SITE and is_virtual(self.context):
            pool, config = pool_sites(self.settings["federation"], self.config)
            return Site(name, pool, config, self.device, cache)
        paths = self.partitions
        if name not in paths:
            raise DataError(f'this node has no site "{name}": it has {", ".join(paths) or "none"}')
        partition = Partition.open(paths[name], check)
        partition.require_measured()
        audit = Path(str(node["audit"])) if "audit" in node else None
        return Site(name, partition, self.config, self.device, cache, self.policy, audit)

    @property
    def device(self) -> torch.device:
        """The device that the node's config names."""
        return find_device(str(self.context.node_config.get("device", "auto")))

    @cached_property
    def arrays(self) -> dict[str, np.ndarray]:
        """Weights of the message."""
        return widen(unpack_arrays(self.message.content["arrays"]))

    def load(self, model: ModelType, device: torch.device) -> ModelType:
        """Load the weights of the message into `model`, and move it to `device` for evaluation."""
        model.load_state_dict({name: torch.from_numpy(array) for name, array in self.arrays.items()})
        return model.to(device).eval()

    @property
    def seed(self) -> int:
        """Seed of this part of the run, derived from the run's seed, phase, round and site alone."""
        s = self.settings
        return derive_seed(self.config.seed, s["phase"], s["server-round"], self.site_name)

    @property
    def deadline(self) -> float:
        """When to stop training so that the reply still arrives in time, on the monotonic clock."""
        return self.start + TRAINING_FRACTION * self.config.round_timeout


def handler(function: Callable[[Request], RecordDict]) -> Callable[[Message, Context], Message]:
    """Make a handler of messages from a function of requests.

    The handler checks that both ends run the same code, measures the seconds, ends a process that hangs, and
    turns expected failures into error replies of one sentence.
    """

    @wraps(function)
    def answer(message: Message, context: Context) -> Message:
        request = Request(message, context)
        watchdog = _Watchdog(request)
        try:
            watchdog.start()
            if request.settings["fingerprint"] != fingerprint():
                raise VersionMismatchError(
                    f"this site runs condi_core {fingerprint()}, the coordinator "
                    f"{request.settings['fingerprint']}: install the same version at both"
                )
            # In a simulation Ray assigns the GPUs.
            with nullcontext() if is_virtual(context) else exclusive_use(request.device):
                reply = function(request)
        except CompletionsMissingError as error:
            return Message(Error(COMPLETIONS_MISSING, str(error)), reply_to=message)
        except (ConfigError, FloatingPointError, VersionMismatchError, torch.OutOfMemoryError) as error:
            return error_reply(request, str(error))
        except PluginError as error:
            return error_reply(
                request, str(error), "a package that the run needs fails; its own log says why"
            )
        except PackingError as error:
            return error_reply(request, f"the coordinator's message cannot be used: {error}")
        except (DataError, OSError) as error:
            # The sentence may name records and paths, so only the site's own log shows it.
            return error_reply(request, str(error), "the site's data cannot be used; its own log says why")
        except Exception as error:
            # Flower would send the text of an unexpected error to the coordinator, and it may name patients.
            traceback.print_exc()
            return error_reply(
                request, str(error), f"the site failed with {type(error).__name__}; its own log says why"
            )
        finally:
            watchdog.cancel()
        if "metrics" not in reply:
            reply["metrics"] = MetricRecord({})
        reply.metric_records["metrics"]["seconds"] = time.monotonic() - request.start
        return Message(reply, reply_to=message)

    return answer


def error_reply(request: Request, reason: str, disclosed: str | None = None) -> Message:
    """Print the reason to the site's own log, and send the coordinator what may be disclosed of it.

    Parameters
    ----------
    request : Request
    reason : str
        One sentence, which may name records and paths of the site.
    disclosed : str, optional
        What a hospital sends instead; by default, and in a simulation, the reason itself.
    """
    print(f"condi: {reason}", flush=True)
    if disclosed is None or is_virtual(request.context):
        disclosed = reason
    return Message(Error(CLIENT_APP_FAILED, disclosed), reply_to=request.message)


class _Watchdog(threading.Timer):
    """Ends a hospital's client process that hangs past the round, as its node would wait for it forever."""

    def __init__(self, request: Request) -> None:
        super().__init__(0, self.expire)
        self.request = request
        self.daemon = True

    def start(self) -> None:
        if not is_virtual(self.request.context):  # In a simulation many sites share one process.
            self.interval = self.request.config.round_timeout
            super().start()

    def expire(self) -> None:
        print(
            f"condi: stopped after {self.interval:g} s, as the coordinator no longer waits for this reply",
            flush=True,
        )
        os._exit(1)


def to_record(arrays: dict[str, np.ndarray]) -> ArrayRecord | ConfigRecord:
    """Pack arrays as one, for a message."""
    return packed_record(to_bytes(arrays))


def packed_record(packed: bytes) -> ArrayRecord | ConfigRecord:
    """Wrap arrays that `to_bytes` packed, for a message."""
    if len(packed) <= MAX_OBJECT_BYTES:
        return ConfigRecord({PACKED: packed})
    return ArrayRecord({PACKED: Array("uint8", (len(packed),), PACKED, packed)})
