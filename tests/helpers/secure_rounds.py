"""Single rounds of training under secure aggregation, in this process, and sites that fail in them."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import NamedTuple

import torch
from flwr.app import ConfigRecord, Error, Message
from flwr.common.secure_aggregation.secaggplus_constants import RECORD_KEY_CONFIGS

from client_app.app import app as client_app
from condi_core.averaging import Arrays
from condi_core.config import RunConfig
from condi_core.imputer.imputer import DiffusionImputer
from condi_core.ownership import ownership, trainable
from condi_core.protocol import fingerprint
from condi_core.task.model import TaskModel
from condi_core.weights_file import state_arrays
from server_app.artifacts import scores
from server_app.federation.outcome import TrainingOutcome
from server_app.federation.roster_collection import collect_roster
from server_app.federation.secure_aggregation import SecureTraining
from server_app.federation.strategy import ModalityFedAvg
from tests.helpers.local_grid import LocalGrid, Tamper
from tests.helpers.tiny_federation import write_tiny


def write_four_sites(path: Path) -> Path:
    """Write four sites, of which three have modality a, two have d, and all have b and c."""
    return write_tiny(path, sites=4, missing_modalities={0: ("d",), 1: ("a", "d")})


def stage(message: Message) -> str | None:
    """Return the stage of the protocol that a request belongs to; None for any other request."""
    return message.content.get(RECORD_KEY_CONFIGS, {}).get("stage")


def failing(site: int, at: str, error: Error | None = None, times: int = 10**9) -> Tamper:
    """Return a tamper function: one site replies to a stage with an error, or does not reply."""
    seen = Counter()

    def tamper(request, reply):
        if request.metadata.dst_node_id == 1000 + site and stage(request) == at:
            seen[at] += 1
            if seen[at] <= times:
                return Message(error, reply_to=request) if error else None
        return reply

    return tamper


class SecureRound(NamedTuple):
    """A round that was done without masks, and what doing it with masks needs."""

    base: Arrays
    requests: list[Message]
    replies: list[Message]
    grid: LocalGrid
    training: SecureTraining
    message: ConfigRecord
    number: int

    def train(self) -> TrainingOutcome:
        """Do the round with masks."""
        return self.training.train(self.number, self.base, self.message)

    def plain(self, *sites: str) -> TrainingOutcome:
        """Average the replies without masks of these sites."""
        replies = [reply for reply in self.replies if reply.metadata.group_id in sites]
        return self.training.strategy.aggregate_train(self.base, self.requests, replies)


def secure_round(federation: Path, flat: dict, action: str, number: int = 1, sites: int = 4) -> SecureRound:
    """Do a round of training without masks, and prepare the same with masks."""
    flat = flat | {"federation": str(federation), "min-sites": 2}
    nodes = [{"partition-id": i, "num-partitions": sites} for i in range(sites)]
    grid, config = LocalGrid(client_app, nodes, flat), RunConfig.from_flat(flat)
    roster, path = collect_roster(grid, config, str)
    torch.manual_seed(0)
    is_task = action == "task"
    model = (
        TaskModel(roster.schema, config.task) if is_task else DiffusionImputer(roster.schema, config.imputer)
    )
    model.standardiser.fit(torch.from_numpy(roster.sums))
    base = state_arrays(model)
    returned = {k for k in base if k.endswith(".spectrum")} if action == "relation" else trainable(model)
    common = {"fingerprint": fingerprint(), "federation": path, "phase": action, "learning-rate": 0.01}
    message = ConfigRecord({**common, "method": "mask", "imputer": ""})
    strategy = ModalityFedAvg(
        roster,
        action,
        ownership(model),
        returned,
        scores.NO_EVALUATION,
        min_sites=2,
        max_steps=20,
        counts_samples=action == "relation",
    )
    requests = strategy.configure_train(number, base, message)
    replies = grid.send_and_receive(requests)
    training = SecureTraining(grid, strategy, 60.0, None)
    return SecureRound(base, requests, replies, grid, training, message, number)
