"""One run of Flower's SecAgg+ workflow, which ends before anything is unmasked that stands for too few sites.

The workflow asks a grid for four exchanges and gives a strategy the mean. The grid here looks at the replies
in between. With their masked updates, sites say in clear which modalities and pairs of modalities they
trained in this round, so that pieces of too few sites are noticed while all masks are still on.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
from flwr.app import ArrayRecord, ConfigRecord, Context, Error, Message, RecordDict
from flwr.common import FitIns, Parameters, parameters_to_ndarrays
from flwr.common.secure_aggregation.secaggplus_constants import RECORD_KEY_CONFIGS, Key, Stage
from flwr.server import LegacyContext
from flwr.server.strategy import Strategy
from flwr.server.workflow import SecAggPlusWorkflow
from flwr.serverapp import Grid

from condi_core.averaging import Arrays
from condi_core.protocol import COMPLETIONS_MISSING, MIN_SECURE_SITES
from condi_core.serialization import PACKED, to_bytes
from server_app.errors import TooFewSitesError
from server_app.federation.messaging import send_and_receive
from server_app.federation.replies import check_seconds
from server_app.federation.roster import Roster


class NotUnmaskedError(Exception):
    """The attempt ended before anything was unmasked.

    Attributes
    ----------
    failures : dict of str to Error or None
        Sites without a valid reply.
    trained : dict of str to ndarray
        By site, whether it trained each pair of modalities; empty when no site has trained.
    """

    def __init__(self, failures: dict[str, Error | None], trained: dict[str, np.ndarray]) -> None:
        super().__init__(", ".join(failures))
        self.failures = failures
        self.trained = trained


class SecureAttempt:
    """One run of the protocol with some of the sites.

    Parameters
    ----------
    grid : Grid
        Connection to the sites' nodes.
    roster : Roster
        Sites of the phase.
    names : sequence of str
        Sites that take part.
    min_sites : int
        Smallest number of masked updates whose sum may be unmasked.
    timeout : float
        Seconds that sites have for each of the four exchanges.
    state : Arrays
        The state that sites start from.
    settings : dict
        Settings of the request to train.
    may_train : ndarray of bool, shape (modality, modality)
        Pairs of modalities that are not withheld from the beginning.
    """

    def __init__(
        self,
        grid: Grid,
        roster: Roster,
        names: Sequence[str],
        min_sites: int,
        timeout: float,
        state: Arrays,
        settings: dict[str, Any],
        may_train: np.ndarray,
    ) -> None:
        nodes = {roster.sites[name].node_id: name for name in names}
        self.requested = list(roster.sites)
        self.grid = _ProtocolGrid(grid, nodes, may_train, min_sites, timeout)
        self.protocol = _ProtocolStrategy(nodes, state, settings)

    @property
    def seconds(self) -> dict[str, float]:
        """Seconds that each site worked whose update is in the mean."""
        return self.protocol.seconds

    @property
    def mean(self) -> list[np.ndarray]:
        """Mean over the sites in `seconds` of what they masked; empty if it could not be unmasked."""
        return self.protocol.mean

    def run(self) -> None:
        """Share masks, train and sum.

        Raises
        ------
        NotUnmaskedError
            The attempt must be repeated, without the sites that failed or with fewer pieces.
        TooFewSitesError
            A site did not follow the protocol.
        """
        n = len(self.protocol.nodes)
        strategy = cast(Strategy, self.protocol)
        context = LegacyContext(Context(0, 0, {}, RecordDict(), {}), strategy=strategy)
        context.state["config"] = ConfigRecord({"current_round": self.protocol.settings["server-round"]})
        context.state["parameters"] = ArrayRecord()
        workflow = SecAggPlusWorkflow(
            num_shares=n,
            reconstruction_threshold=n // 2 + 1,
            max_weight=1.0,
            clipping_range=1.0,
            quantization_range=2 ** min(31 - (n - 1).bit_length(), 30),  # n of them stay below 2 ** 32
            timeout=self.grid.timeout,
        )
        try:
            with _quiet_workflow():
                workflow(cast(Grid, self.grid), context)
        except (KeyError, IndexError, TypeError, ValueError) as error:
            raise TooFewSitesError(
                f"nothing could be summed: a site did not follow the protocol ({type(error).__name__})",
                self.requested,
            ) from None


class _ProtocolGrid:
    """The grid that Flower's workflow uses: it sends messages, and records failed sites and bytes."""

    def __init__(
        self, grid: Grid, nodes: dict[int, str], may_train: np.ndarray, min_sites: int, timeout: float
    ) -> None:
        self.grid = grid
        self.nodes = nodes
        self.may_train = may_train
        self.min_sites = min_sites
        self.timeout = timeout
        self.failures: dict[str, Error | None] = {}
        self.bytes_down = 0
        self.bytes_up = 0

    def send_and_receive(self, messages: Iterable[Message], *, timeout: float | None = None) -> list[Message]:
        """Do one exchange of the protocol.

        The attempt ends here when a site fails before training: no other site holds shares of its secrets,
        and the failure would be noticed only when masks are removed. After training it ends when the sum, or
        a piece of it, would be of too few sites. It also ends when a site could still answer after a
        repetition: training is repeatable, and from two sums that differ by one site the coordinator could
        compute the update of that site.
        """
        messages = list(messages)
        stage = messages[0].content.config_records[RECORD_KEY_CONFIGS][Key.STAGE]
        replies = send_and_receive(self.grid, messages, timeout or self.timeout)
        self.bytes_down += sum(_num_bytes(message.content) for message in messages)
        self.bytes_up += sum(_num_bytes(reply.content) for reply in replies if reply.has_content())
        failures: dict[str, Error | None] = dict.fromkeys(
            self.nodes[message.metadata.dst_node_id] for message in messages
        )
        for reply in replies:
            name = self.nodes.get(reply.metadata.src_node_id)
            if name and reply.has_error():
                if name in failures:
                    failures[name] = reply.error
            elif name:
                failures.pop(name, None)
        if failures and stage in (Stage.SETUP, Stage.SHARE_KEYS):
            raise NotUnmaskedError(failures, {})
        if stage == Stage.COLLECT_MASKED_VECTORS:
            lost = any(error and error.code == COMPLETIONS_MISSING for error in failures.values())
            trained = {
                self.nodes[reply.metadata.src_node_id]: self._trained_pairs(reply)
                for reply in replies
                if reply.has_content()
            }
            if lost or len(trained) < self.min_sites or _has_too_few(trained):
                raise NotUnmaskedError(failures, trained)
        self.failures |= failures
        return replies

    def _trained_pairs(self, reply: Message) -> np.ndarray:
        """Return which pairs of modalities a site says that it trained, bool `(modality, modality)`."""
        flags = cast(bytes, reply.content.config_records["fitres.metrics"]["trained"])
        return (np.frombuffer(flags, np.uint8).reshape(self.may_train.shape) > 0) & self.may_train


def _has_too_few(trained: dict[str, np.ndarray]) -> bool:
    """Return whether some pair was trained by a site, but by fewer than `MIN_SECURE_SITES`."""
    number = np.sum(list(trained.values()), axis=0)
    return bool(((number > 0) & (number < MIN_SECURE_SITES)).any())


class _ProtocolStrategy:
    """The strategy that Flower's workflow uses: it names the sites, and receives the mean."""

    def __init__(self, nodes: dict[int, str], state: Arrays, settings: dict[str, Any]) -> None:
        self.nodes = nodes
        self.state = state
        self.settings = settings
        self.seconds: dict[str, float] = {}
        self.mean: list[np.ndarray] = []

    def configure_fit(self, server_round, parameters, client_manager) -> list[tuple]:
        """Return the nodes that are to train, each with its instructions."""
        start = Parameters([to_bytes(self.state)], PACKED)
        return [
            (SimpleNamespace(node_id=node), FitIns(start, {**self.settings, "site": name}))
            for node, name in self.nodes.items()
        ]

    def aggregate_fit(self, server_round, results, failures) -> tuple[None, dict]:
        """Take the mean, which is the same in every result, and the seconds that sites report unmasked."""
        order = list(self.nodes)
        for proxy, result in sorted(results, key=lambda pair: order.index(pair[0].node_id)):
            seconds = float(result.metrics["seconds"])
            check_seconds(seconds)
            self.seconds[self.nodes[proxy.node_id]] = seconds
            self.mean = parameters_to_ndarrays(result.parameters)
        return None, {}


def _num_bytes(content: RecordDict) -> int:
    """Return the size of all arrays and byte strings of a message."""
    total = 0
    for record in content.values():
        for value in record.values():
            parts = value if isinstance(value, list) else [getattr(value, "data", value)]
            total += sum(len(part) for part in parts if isinstance(part, bytes))
    return total


@contextmanager
def _quiet_workflow() -> Iterator[None]:
    """Silence the lines that Flower's workflow logs in every round."""
    logger = logging.getLogger("flwr")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        logger.setLevel(level)
