"""Early stopping: when the rounds of a phase have stopped to improve its model."""

from __future__ import annotations

import math

from server_app.artifacts.run_directory import RunState


def has_stalled(state: RunState, phase: str, model: str, patience: int) -> bool:
    """Return whether the last `patience` scored rounds of a phase were no better than one before them.

    Parameters
    ----------
    state : RunState
        The rounds and scores so far. The answer depends on them alone, and so is the same after the run is
        resumed.
    phase, model : str
        Name of the phase, and of the model that it trains.
    patience : int
        Number of rounds; 0 for a phase that never ends early.
    """
    scored = [line["round"] for line in state.history if line["phase"] == phase and "selection-score" in line]
    best_round = state.scores.get(model, (math.inf, 0))[1]
    return bool(patience and scored) and scored[-1] - best_round >= patience
