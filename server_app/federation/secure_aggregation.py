"""Secure aggregation: a round of training of which the coordinator learns sums over sites alone.

Flower's SecAgg+ (Bell et al. 2020, doi:10.1145/3372297.3417885) carries both sums of every average. Sites
send weighted updates relative to the start of the round (see `client_app.node.secure_aggregation`), and
Flower's workflow gives their mean over those that answered. One round is four exchanges. Of n sites n - t
may drop out while they train, t = n // 2 + 1; t of them together with the coordinator could unmask another.

So a coordinator that follows the protocol does not learn what single sites sent. One that goes to lengths
can: nothing proves to a site whose keys it is handed, a round can be repeated without one site and the sums
be compared, and Flower 1.39 makes each mask from 32 bits, which can be searched (`pseudo_rand_gen` in
`flwr.common.secure_aggregation`).
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from contextlib import contextmanager
from types import SimpleNamespace

import numpy as np
from flwr.app import ArrayRecord, ConfigRecord, Context, Error, Message, RecordDict
from flwr.common import FitIns, Parameters, parameters_to_ndarrays
from flwr.common.secure_aggregation.secaggplus_constants import RECORD_KEY_CONFIGS, Key, Stage
from flwr.server import LegacyContext
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
from server_app.federation.strategy import ModalityFedAvg

RANGES = {"relation": 1024.0, "imputer": 8.0, "task": 8.0}  # of what one number may change by in a round


def require_secure_sites(roster: Roster) -> None:
    """RunError when these sites cannot aggregate securely."""
    nodes = {site.node_id for site in roster.sites.values()}
    if len(roster.sites) < MIN_SECURE_SITES:
        raise RunError(
            f"secure-aggregation needs {MIN_SECURE_SITES} sites or more, {len(roster.sites)} came: start more, or do "
            "without it"
        )
    if len(nodes) < len(roster.sites):
        raise RunError(
            f"secure-aggregation needs a node for each site, but {len(nodes)} nodes stand for "
            f"{len(roster.sites)} sites: start as many, in a simulation by num-supernodes or --nodes"
        )


class SecureTraining:
    """Rounds of training for a strategy, of which it sets `answered` and `failures`.

    `restore` gives named sites what they need and have lost. `down` and `up` count bytes.
    """

    def __init__(
        self,
        grid: Grid,
        strategy: ModalityFedAvg,
        timeout: float,
        restore: Callable[[Collection[str], Sequence[str]], int] | None,
    ) -> None:
        self.grid, self.strategy, self.timeout, self.restore = grid, strategy, timeout, restore
        self.down = self.up = 0

    def round(self, round_: int, base: Arrays, config: ConfigRecord) -> tuple[Arrays, dict[str, float]]:
        """The next state, and loss and windows of all; TooFewSites when too few answer."""
        sites = list(self.strategy.roster.sites)
        failures: dict[str, str] = {}
        restored: set[str] = set()
        least = max(MIN_SECURE_SITES, self.strategy.min_sites)
        while len(sites) >= least:
            attempt = _Attempt(self, sites, round_, base, config)
            try:
                attempt.carry_out()
            except _NotUnmasked as stop:
                for name, error in stop.failures.items():
                    if self.restore and error and error.code == COMPLETIONS_MISSING and name not in restored:
                        restored.add(name)
                        self.restore({name}, SPLITS)
                    else:
                        failures[name] = _reason(error)
                        sites.remove(name)
                continue
            failures |= {name: _reason(error) for name, error in attempt.failures.items()}
            self.strategy.settle(attempt.seconds, failures)
            return attempt.read()
        reasons = "; ".join(f"{name}: {why}" for name, why in failures.items())
        raise TooFewSitesError(f"{len(sites)} sites are left where {least} are needed ({reasons})")


class _NotUnmasked(Exception):
    """The attempt ends before anything is unmasked, because of these sites."""

    def __init__(self, failures: dict[str, Error | None]) -> None:
        super().__init__(", ".join(failures))
        self.failures = failures


class _Attempt:
    """One run of Flower's protocol: to it this is both the grid and a strategy of its older interface."""

    def __init__(
        self, training: SecureTraining, sites: list[str], round_: int, base: Arrays, config: ConfigRecord
    ) -> None:
        self.training, self.base, self.round_ = training, base, round_
        roster, action = training.strategy.roster, training.strategy.action
        self.nodes = {roster.sites[name].node_id: name for name in sites}
        # In its first round the relation counts samples that two modalities have together, not windows.
        schema, first = roster.schema, action == "relation" and round_ == 1
        windows = max(site.manifest.windows["train"] for site in roster.sites.values())
        self.settings = {
            **config,
            "action": action,
            "server-round": round_,
            "range": RANGES[action],
            "most-windows": float(windows),
            "most-counted": float(windows * (schema.patches * schema.samples if first else 1)),
        }
        self.failures: dict[str, Error | None] = {}
        self.seconds: dict[str, float] = {}
        self.mean: list[np.ndarray] = []

    def carry_out(self) -> None:
        """Masks, training, sums; _NotUnmasked when it must be begun anew."""
        n = len(self.nodes)
        context = LegacyContext(Context(0, 0, {}, RecordDict(), {}), strategy=self)
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
            with _quiet():
                workflow(self, context)
        except (KeyError, IndexError, TypeError, ValueError) as error:
            why = f"a site did not keep to the protocol ({type(error).__name__})"
            raise TooFewSitesError(f"nothing could be summed: {why}") from None

    def send_and_receive(self, messages: Iterable[Message], *, timeout: float | None = None) -> list[Message]:
        """An exchange of the protocol.

        Shares of a site that is absent before training are in nobody's hands, and its absence would be
        found out only when masks are taken off; so the attempt ends there. It also ends when a site could
        answer in a moment: training is repeatable, and from two sums that differ by one site, the
        coordinator could tell that site's update.
        """
        messages = list(messages)
        stage = messages[0].content[RECORD_KEY_CONFIGS][Key.STAGE]
        replies = send_and_receive(self.training.grid, messages, timeout or self.training.timeout)
        self.training.down += sum(_size(message.content) for message in messages)
        self.training.up += sum(_size(reply.content) for reply in replies if reply.has_content())
        failures = dict.fromkeys(self.nodes[message.metadata.dst_node_id] for message in messages)
        for reply in replies:
            name = self.nodes.get(reply.metadata.src_node_id)
            if reply.has_error() and name in failures:
                failures[name] = reply.error
            elif name:
                failures.pop(name, None)
        lost = any(error and error.code == COMPLETIONS_MISSING for error in failures.values())
        few = len(messages) - len(failures) < self.training.strategy.min_sites
        few &= stage == Stage.COLLECT_MASKED_VECTORS  # then the sum of those would be repeated with others
        if failures and (lost or few or stage in (Stage.SETUP, Stage.SHARE_KEYS)):
            raise _NotUnmasked(failures)
        self.failures |= failures
        return replies

    def configure_fit(self, server_round, parameters, client_manager) -> list[tuple]:
        """Whom Flower is to ask for what."""
        start = Parameters([to_bytes(self.base)], PACKED)
        return [
            (SimpleNamespace(node_id=node), FitIns(start, {**self.settings, "site": name}))
            for node, name in self.nodes.items()
        ]

    def aggregate_fit(self, server_round, results, failures) -> tuple[None, dict]:
        """What Flower has found: the mean, the same with every result, and what sites told in clear."""
        order = list(self.nodes)
        for proxy, result in sorted(results, key=lambda pair: order.index(pair[0].node_id)):
            self.seconds[self.nodes[proxy.node_id]] = float(result.metrics["seconds"])
            self.mean = parameters_to_ndarrays(result.parameters)
        return None, {}

    def read(self) -> tuple[Arrays, dict[str, float]]:
        """State, loss and windows that the mean stands for."""
        strategy, settings = self.training.strategy, self.settings
        *pieces, counts, (windows, loss) = self.mean
        result = dict(self.base)
        for name, piece in zip(sorted(strategy.returned), pieces, strict=True):
            old = self.base[name]
            weight = np.broadcast_to(
                aggregation_weights(strategy.owners[name], counts, windows, old.shape), old.shape
            )
            update = np.divide(piece, weight, out=np.zeros(old.shape), where=weight > 0)
            result[name] = (old + settings["range"] * update).astype(old.dtype)
        total = round(windows * settings["most-windows"] * len(self.seconds))
        return result, {"loss": loss / windows * LOSS_RANGE, "windows": float(total)}


def _reason(error: Error | None) -> str:
    return last_line(error.reason) if error else "no answer in time"


def _size(content: RecordDict) -> int:
    """Bytes of arrays and of what the protocol carries as bytes."""
    total = 0
    for record in content.values():
        for value in record.values():
            parts = value if isinstance(value, list) else [getattr(value, "data", value)]
            total += sum(len(part) for part in parts if isinstance(part, bytes))
    return total


@contextmanager
def _quiet() -> Iterator[None]:
    """Without the lines that Flower's workflow says of every round."""
    logger = logging.getLogger("flwr")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        logger.setLevel(level)
