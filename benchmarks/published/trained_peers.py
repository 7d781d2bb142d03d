"""SAITS, HELIX and ImputeFormer of PyPOTS 1.5, trained on the stays of a protocol to early stopping.

They see the pooled training stays and stop when the error of the hidden cells of validation stays has not
fallen for some epochs, or after --peer-minutes of CPU time, which the costs then say. SAITS has the size of
PyPOTS's example on PhysioNet 2012. HELIX and ImputeFormer work on a token for each cell, so that their
published widths would take days on a CPU: theirs are smaller.
"""

from __future__ import annotations

import time
from argparse import ArgumentParser, Namespace
from typing import Any

import numpy as np
from published.outcome import DataMissingError, Rows
from published.stays import score_estimates

SIZES: dict[str, tuple[str, dict[str, float]]] = {
    "saits": (
        "SAITS",
        dict(n_layers=2, d_model=256, n_heads=4, d_k=64, d_v=64, d_ffn=128, dropout=0.1),
    ),
    "imputeformer": (
        "ImputeFormer",
        dict(n_layers=2, d_input_embed=32, d_learnable_embed=32, d_proj=16, d_ffn=64, n_temporal_heads=2),
    ),
    "helix": ("HELIX", dict(n_layers=2, d_model=32, n_heads=4)),
}
PATIENCE_EPOCHS = 10
MAX_EPOCHS = 100


def add_peer_options(parser: ArgumentParser) -> None:
    """Add the options of a protocol that say which peers are trained."""
    parser.add_argument("--peers", nargs="+", choices=SIZES, default=[], help="of PyPOTS, trained as well")
    parser.add_argument("--peer-minutes", type=float, default=30.0, help="largest CPU time of each peer")


def score_peers(
    options: Namespace, values: np.ndarray, hidden: np.ndarray, splits: dict[str, np.ndarray]
) -> tuple[Rows, dict[str, dict[str, float | str]]]:
    """Train the peers of the options and return scores and costs by name.

    Parameters
    ----------
    options : of `add_peer_options`
    values : (stay, hour, variable), standardised, NaN where not measured
    hidden : bool of the same shape
    splits : stays of each split
    """
    visible = np.where(hidden, np.nan, values)
    training, test = values[splits["train"]], splits["test"]
    validation = {"X": visible[splits["val"]], "X_ori": values[splits["val"]]}
    rows: Rows = {}
    costs: dict[str, dict[str, float | str]] = {}
    for peer in options.peers:
        name, _ = SIZES[peer]
        model = build(peer, *values.shape[1:])
        was_stopped = limit_time(model, 60 * options.peer_minutes)
        start = time.process_time()
        model.fit({"X": training}, validation)
        costs[name] = {
            "s of training": round(time.process_time() - start),
            "parameters": sum(p.numel() for p in model.model.parameters()),
            "best epoch": model.best_epoch,
            "ended by": "time" if was_stopped else "early stopping" if model.patience == 0 else "epochs",
        }
        estimate = model.impute({"X": visible[test]})
        rows |= score_estimates(values[test], hidden[test], {name: np.asarray(estimate)})
        print(f"{name}: {rows[name]}, {costs[name]}", flush=True)
    return rows, costs


def build(peer: str, steps: int, features: int) -> Any:
    """Return an untrained model of PyPOTS."""
    try:
        import pypots.imputation
        from pypots.utils.random import set_random_seed
    except ImportError as error:
        raise DataMissingError(f"{error.name} is not installed: pip install -e '.[bench]'") from error
    set_random_seed(0)
    name, size = SIZES[peer]
    return getattr(pypots.imputation, name)(
        steps, features, **size, batch_size=32, epochs=MAX_EPOCHS, patience=PATIENCE_EPOCHS, device="cpu",
        model_saving_strategy=None,
    )  # fmt: skip


def limit_time(model: Any, seconds: float) -> list[bool]:
    """Let training end after some CPU time with the best weights so far; the list is then not empty."""
    assemble, start, was_stopped = model._assemble_input_for_training, time.process_time(), []

    def assemble_in_time(data: list) -> dict:
        if time.process_time() - start > seconds and model.best_model_dict is not None:
            was_stopped.append(True)
            raise KeyboardInterrupt  # PyPOTS ends the training, and keeps the best weights
        return assemble(data)

    model._assemble_input_for_training = assemble_in_time
    return was_stopped
