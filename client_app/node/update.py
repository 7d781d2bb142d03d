"""What a site sends after a round of training: its weights, and the scores of those that it received."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from flwr.app import MetricRecord, RecordDict
from torch import nn

from client_app.node.local_noise import protect_update
from client_app.node.request import Request, to_record
from condi_core.averaging import count_pairs
from condi_core.protocol import SCORE_PREFIX
from condi_core.serialization import unpack_arrays


def training_reply(
    request: Request, model: nn.Module, result: dict[str, Any], scores: RecordDict | None = None
) -> RecordDict:
    """Reply to a training round with the trained weights, and with their weight in the average.

    As in FedAvg (McMahan et al. 2017, Algorithm 1) sites are weighted by their training windows, not by their
    local steps, and modalities as in `count_pairs`.

    Parameters
    ----------
    request : Request
        It has the weights from which the site started, and its policy.
    model : nn.Module
    result : dict
        `loss`, `steps`, `windows`, and `present`, bool `(window, modality)`, of the windows of the round.
    scores : RecordDict, optional
        The reply to an evaluation of the weights of the message, which is sent along.
    """
    trained = {n: p.detach().cpu().numpy() for n, p in model.named_parameters() if p.requires_grad}
    weights = protect_update(trained, request.arrays, request.policy)
    metrics: dict[str, Any] = {
        "windows": float(result["windows"]),
        "counts": count_pairs(result["present"], result["windows"]).ravel().tolist(),
        "loss": float(result["loss"]),
        "steps": int(result["steps"]),
    }
    arrays = _round_weights(weights) if request.config.transport == "float16" else dict(weights)
    if scores:
        arrays |= _with_prefix(unpack_arrays(scores["arrays"]))
        metrics |= _with_prefix(scores.metric_records["metrics"])
    return RecordDict({"arrays": to_record(arrays), "metrics": MetricRecord(metrics)})


def _round_weights(weights: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Round weights to float16 for transport; FloatingPointError when one is too large for it."""
    with np.errstate(over="ignore"):
        rounded = {name: array.astype(np.float16) for name, array in weights.items()}
    for name, array in weights.items():
        if not np.isfinite(rounded[name]).all() and np.isfinite(array).all():
            raise FloatingPointError(
                f"{name} has a weight beyond {np.finfo(np.float16).max:g}, the limit of transport='float16': "
                "set transport='float32'"
            )
    return rounded


def _with_prefix(scores: Mapping[str, Any]) -> dict[str, Any]:
    return {SCORE_PREFIX + name: value for name, value in scores.items()}
