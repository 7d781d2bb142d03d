"""What a malicious site does in `benchmarks/poisoning.py`: it changes its own replies before they are sent.

An attack is a function of a request and the honest reply of the site, as the `tamper` argument of tests is.
"""

from __future__ import annotations

import json
from collections.abc import Callable

import numpy as np
from flwr.app import ConfigRecord, Message

from condi_core.averaging import Arrays
from condi_core.protocol import SCORE_PREFIX
from condi_core.serialization import unpack_arrays
from server_app.federation.records import to_record

CLAIMED_WINDOWS = 10**9
TRAINING = ("train.imputer", "train.task")
Change = Callable[[np.ndarray, np.ndarray], np.ndarray]  # trained array, start of the round → what is sent
Attack = Callable[[Message, Message], None]  # request, reply that is changed


def change_arrays(actions: tuple[str, ...], change: Change) -> Attack:
    """Return an attack that changes the arrays of replies to these requests."""

    def attack(request: Message, reply: Message) -> None:
        if request.metadata.message_type in actions:
            base = unpack_arrays(request.content["arrays"])
            arrays = unpack_arrays(reply.content["arrays"])
            changed: Arrays = {
                n: change(a.astype(float), base[n]).astype(a.dtype) for n, a in arrays.items() if n in base
            }
            reply.content["arrays"] = to_record(arrays | changed)

    return attack


def change_description(change: Callable[[dict], None]) -> Attack:
    """Return an attack that changes what the site says of itself."""

    def attack(request: Message, reply: Message) -> None:
        if request.metadata.message_type == "query.describe":
            config = reply.content.config_records["config"]
            site = json.loads(config["sites"][0])
            change(site)
            reply.content["config"] = ConfigRecord({**config, "sites": [json.dumps(site)]})

    return attack


def claim_windows(request: Message, reply: Message) -> None:
    """Claim many windows, in the description and in every round."""

    def claim(site: dict) -> None:
        site["manifest"]["windows"]["train"] = site["labelled"]["train"] = CLAIMED_WINDOWS

    change_description(claim)(request, reply)
    if request.metadata.message_type.startswith("train"):
        metrics = reply.content.metric_records["metrics"]
        factor = CLAIMED_WINDOWS / metrics["windows"]
        metrics["windows"] = float(CLAIMED_WINDOWS)
        metrics["counts"] = [factor * count for count in metrics["counts"]]


def claim_values(site: dict) -> None:
    """Claim that the mean and the deviation of every modality are 10⁸."""
    site["sums"] = [[n, 1e8 * n, 2e16 * n] for n, _, _ in site["sums"]]


def falsify_scores(request: Message, reply: Message) -> None:
    """Report no error on validation windows in the first round, and large ones in all others."""
    config = request.content.config_records.get("config", {})
    kind, _, action = request.metadata.message_type.partition(".")
    with_update = kind == "train" and config["evaluate"]
    if not with_update and (kind != "evaluate" or config["split"] != "val"):
        return
    prefix, first = (SCORE_PREFIX, 2) if with_update else ("", 1)
    factor = 0.0 if config["server-round"] == first else 1000.0
    if action == "imputer":
        arrays = unpack_arrays(reply.content["arrays"])
        false = {n: a * [1, factor, factor, factor, 1] for n, a in arrays.items() if n.startswith(prefix)}
        reply.content["arrays"] = to_record(arrays | false)
    else:
        reply.content.metric_records["metrics"][f"{prefix}loss-sum"] *= factor


def in_turn(*attacks: Attack) -> Attack:
    """Return an attack that does several."""

    def attack(request: Message, reply: Message) -> None:
        for part in attacks:
            part(request, reply)

    return attack


def reverse_signs(a: np.ndarray, base: np.ndarray) -> np.ndarray:
    """Return a strong relation that data could have, but in which every other modality has the wrong sign."""
    signs = (-1.0) ** np.arange(len(a))
    return 50 * a * np.multiply.outer(signs, signs)[..., None, None]


def reverse(a: np.ndarray, base: np.ndarray) -> np.ndarray:
    return 2 * base - a


ATTACKS: dict[str, Attack] = {
    "none": in_turn(),
    "update × 1000": change_arrays(TRAINING, lambda a, base: base + 1000 * (a - base)),
    "reversed update": change_arrays(TRAINING, reverse),
    "reversed update × 20": change_arrays(TRAINING, lambda a, base: base - 20 * (a - base)),
    "reversed update, 10⁹ windows": in_turn(change_arrays(TRAINING, reverse), claim_windows),
    "weights of 10⁶": change_arrays(TRAINING, lambda a, base: np.full_like(a, 1e6)),
    "weights of 0": change_arrays(TRAINING, lambda a, base: np.zeros_like(a)),
    "relation × 10⁶": change_arrays(("train.relation",), lambda a, base: 1e6 * a),
    "relation × −1000": change_arrays(("train.relation",), lambda a, base: -1000 * a),
    "relation × 50, wrong signs": change_arrays(("train.relation",), reverse_signs),
    "false standardising sums": change_description(claim_values),
    "false validation scores": falsify_scores,
}
# Refused, or bounded by the other sites under every rule of averaging.
BOUNDED_UNDER_EVERY_RULE = (
    "relation × 10⁶",
    "relation × −1000",
    "false standardising sums",
    "false validation scores",
)
