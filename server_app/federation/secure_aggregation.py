"""Secure aggregation: a round of training of which the coordinator learns only sums over sites.

Flower's SecAgg+ (Bell et al. 2020, doi:10.1145/3372297.3417885) carries both sums of every average. Sites
send weighted updates relative to the start of the round (see `client_app.node.secure_aggregation`), and
Flower's workflow gives their mean over the sites that answered. One round is four exchanges. Of n sites,
n - t may drop out while they train, with t = n // 2 + 1; t of them together with the coordinator could
unmask another.

So a coordinator that follows the protocol does not learn what single sites sent. A malicious one can: sites
cannot verify whose keys they receive, a round can be repeated without one site and the two sums compared,
and Flower 1.39 makes each mask from 32 bits, which can be searched (`pseudo_rand_gen` in
`flwr.common.secure_aggregation`).
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
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
from condi_core.ownership import aggregation_weights
from condi_core.protocol import COMPLETIONS_MISSING, LOSS_RANGE, MIN_SECURE_SITES
from condi_core.serialization import PACKED, to_bytes
from data_partitions.manifest import SPLITS
from server_app.errors import RunError, TooFewSitesError, last_line
from server_app.federation.messaging import send_and_receive
from server_app.federation.roster import Roster
from server_app.federation.strategy import Exchange, ModalityFedAvg, TrainingOutcome

RANGES = {"relation": 1024.0, "imputer": 8.0, "task": 8.0}  # largest change of one number in a round


def require_secure_sites(roster: Roster) -> None:
    """Raise RunError when these sites cannot aggregate securely."""
    nodes = {site.node_id for site in roster.sites.values()}
    if len(roster.sites) < MIN_SECURE_SITES:
        raise RunError(
            f"secure-aggregation needs at least {MIN_SECURE_SITES} sites, but {len(roster.sites)} connected: "
            "start more sites or turn secure-aggregation off"
        )
    if len(nodes) < len(roster.sites):
        raise RunError(
            f"secure-aggregation needs a node for each site, but {len(nodes)} nodes stand for "
            f"{len(roster.sites)} sites: start as many, in a simulation by num-supernodes or --nodes"
        )


class SecureTraining:
    """Secure rounds of training for a strategy.

    Parameters
    ----------
    grid : Grid
        Connection to the sites' nodes.
    strategy : ModalityFedAvg
        The strategy, all of whose sites train.
    timeout : float
        Seconds that sites have for each of the four exchanges.
    restore : callable or None
        Sends what sites have lost and need for some splits.
    """

    def __init__(
        self,
        grid: Grid,
        strategy: ModalityFedAvg,
        timeout: float,
        restore: Callable[[Collection[str], Sequence[str]], int] | None,
    ) -> None:
        self.grid = grid
        self.strategy = strategy
        self.timeout = timeout
        self.restore = restore

    def train(self, round_: int, state: Arrays, config: ConfigRecord) -> TrainingOutcome:
        """Do a round of training; TooFewSitesError when too few sites answer."""
        sites = list(self.strategy.roster.sites)
        failures: dict[str, str] = {}
        restored: set[str] = set()
        bytes_down = bytes_up = 0
        min_sites = max(MIN_SECURE_SITES, self.strategy.min_sites)
        while len(sites) >= min_sites:
            attempt = _Attempt(self, sites, round_, state, config)
            try:
                attempt.run()
            except _NotUnmaskedError as stop:
                for name, error in stop.failures.items():
                    lost = error is not None and error.code == COMPLETIONS_MISSING
                    if self.restore and lost and name not in restored:
                        restored.add(name)
                        self.restore({name}, SPLITS)
                    else:
                        failures[name] = _reason(error)
                        sites.remove(name)
                continue
            finally:
                bytes_down += attempt.grid.bytes_down
                bytes_up += attempt.grid.bytes_up
            failures |= {name: _reason(error) for name, error in attempt.grid.failures.items()}
            requested = list(self.strategy.roster.sites)
            exchange = Exchange(requested, attempt.protocol.seconds, failures, bytes_down, bytes_up)
            exchange.require_min_sites(self.strategy.min_sites)
            return attempt.outcome(exchange)
        reasons = "; ".join(f"{name}: {reason}" for name, reason in failures.items())
        raise TooFewSitesError(
            f"only {len(sites)} sites remain, but secure aggregation needs {min_sites} here ({reasons})",
            list(self.strategy.roster.sites),
        )


class _NotUnmaskedError(Exception):
    """The attempt ends before anything is unmasked, because of these sites."""

    def __init__(self, failures: dict[str, Error | None]) -> None:
        super().__init__(", ".join(failures))
        self.failures = failures


class _Attempt:
    """One run of Flower's protocol with some of the sites."""

    def __init__(
        self, training: SecureTraining, sites: list[str], round_: int, state: Arrays, config: ConfigRecord
    ) -> None:
        self.training = training
        self.state = state
        self.round_ = round_
        roster, action = training.strategy.roster, training.strategy.action
        nodes = {roster.sites[name].node_id: name for name in sites}
        # In the first round, the counts of the relation are of samples that two modalities have in common,
        # and not of windows.
        schema, counts_samples = roster.schema, action == "relation" and round_ == 1
        windows = max(site.manifest.windows["train"] for site in roster.sites.values())
        self.range = RANGES[action]
        self.max_windows = float(windows)
        settings = {
            **config,
            "action": action,
            "server-round": round_,
            "range": self.range,
            "most-windows": self.max_windows,
            "most-counted": float(windows * (schema.patches * schema.samples if counts_samples else 1)),
        }
        self.grid = _ProtocolGrid(training, nodes)
        self.protocol = _ProtocolStrategy(nodes, state, settings)

    def run(self) -> None:
        """Share masks, train and sum; _NotUnmaskedError when the attempt must be repeated."""
        n = len(self.protocol.nodes)
        strategy = cast(Strategy, self.protocol)
        context = LegacyContext(Context(0, 0, {}, RecordDict(), {}), strategy=strategy)
        context.state["config"] = ConfigRecord({"current_round": self.round_})
        context.state["parameters"] = ArrayRecord()
        workflow = SecAggPlusWorkflow(
            num_shares=n,
            reconstruction_threshold=n // 2 + 1,
            max_weight=1.0,
            clipping_range=1.0,
            quantization_range=2 ** min(31 - (n - 1).bit_length(), 30),  # n of them stay below 2 ** 32
            timeout=self.training.timeout,
        )
        try:
            with _quiet_workflow():
                workflow(cast(Grid, self.grid), context)
        except (KeyError, IndexError, TypeError, ValueError) as error:
            raise TooFewSitesError(
                f"nothing could be summed: a site did not follow the protocol ({type(error).__name__})",
                list(self.training.strategy.roster.sites),
            ) from None

    def outcome(self, exchange: Exchange) -> TrainingOutcome:
        """Return the next state, loss and windows that the mean over sites stands for."""
        strategy = self.training.strategy
        *pieces, counts, (windows, loss) = self.protocol.mean
        state = dict(self.state)
        for name, piece in zip(sorted(strategy.returned), pieces, strict=True):
            old = state[name]
            weight = np.broadcast_to(
                aggregation_weights(strategy.owners[name], counts, windows, old.shape), old.shape
            )
            update = np.divide(piece, weight, out=np.zeros(old.shape), where=weight > 0)
            state[name] = (old + self.range * update).astype(old.dtype)
        total = round(windows * self.max_windows * len(exchange.seconds))
        return TrainingOutcome(state, loss / windows * LOSS_RANGE, float(total), exchange)


class _ProtocolGrid:
    """The grid that Flower's workflow uses: it sends messages, and records failed sites and bytes."""

    def __init__(self, training: SecureTraining, nodes: dict[int, str]) -> None:
        self.training = training
        self.nodes = nodes
        self.failures: dict[str, Error | None] = {}
        self.bytes_down = 0
        self.bytes_up = 0

    def send_and_receive(self, messages: Iterable[Message], *, timeout: float | None = None) -> list[Message]:
        """Do one exchange of the protocol.

        The attempt ends here when a site fails before training: no other site holds shares of its secrets,
        and the failure would be noticed only when masks are removed. It also ends when a site could still
        answer after a repetition: training is repeatable, and from two sums that differ by one site the
        coordinator could compute the update of that site.
        """
        messages = list(messages)
        stage = messages[0].content.config_records[RECORD_KEY_CONFIGS][Key.STAGE]
        replies = send_and_receive(self.training.grid, messages, timeout or self.training.timeout)
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
        lost = any(error and error.code == COMPLETIONS_MISSING for error in failures.values())
        too_few = len(messages) - len(failures) < self.training.strategy.min_sites
        too_few &= stage == Stage.COLLECT_MASKED_VECTORS  # their sum would be repeated with other sites
        if failures and (lost or too_few or stage in (Stage.SETUP, Stage.SHARE_KEYS)):
            raise _NotUnmaskedError(failures)
        self.failures |= failures
        return replies


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
            self.seconds[self.nodes[proxy.node_id]] = float(result.metrics["seconds"])
            self.mean = parameters_to_ndarrays(result.parameters)
        return None, {}


def _reason(error: Error | None) -> str:
    return last_line(error.reason) if error else "no answer in time"


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
