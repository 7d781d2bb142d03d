"""The line of a round in the history, and what the terminal and the run's log show of it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from server_app.federation.outcome import TrainingOutcome


def history_line(
    phase: str, round_: int, rounds: int, trained: TrainingOutcome, loss: float | None, seconds: float
) -> dict[str, Any]:
    """Return the line of a round that has not been scored yet; without a loss where sites withhold it."""
    return {
        "phase": phase,
        "round": round_,
        "rounds": rounds,
        "loss": loss,
        "windows": trained.windows,
        "metrics": {},
        "bytes-down": trained.exchange.bytes_down,
        "bytes-up": trained.exchange.bytes_up,
        "train-seconds": seconds,
        "seconds": seconds,
        "sites-asked": len(trained.exchange.requested),
        "site-seconds": trained.exchange.seconds,
        "failures": dict(trained.exchange.failures),
    }


def round_line(line: dict[str, Any], remaining_seconds: float) -> str:
    """Return what the terminal shows of the training of a round."""
    loss = [f"loss {line['loss']:.4f}"] if line["loss"] else []  # 0: it has none; None: withheld
    parts = [_position(line), *loss, f"{len(line['site-seconds'])}/{line['sites-asked']} sites"]
    parts.append(f"{line['seconds']:.0f} s")
    if remaining_seconds > 0:
        parts.append(f"about {_duration(remaining_seconds)} left in this phase")
    return "  ".join(parts) + _failure_lines(line["failures"])


def score_line(line: dict[str, Any], failures: Mapping[str, str]) -> str:
    """Return what the terminal shows of the scores of a round."""
    metrics = [f"{key} {value:.3f}" for key, value in line["metrics"].items() if key != "score"]
    return "  ".join([_position(line), *metrics]) + _failure_lines(failures)


def _position(line: dict[str, Any]) -> str:
    return f"{line['phase']:<12} round {line['round']:>2}/{line['rounds']}"


def _failure_lines(failures: Mapping[str, str]) -> str:
    return "".join(f"\n  {name}: {reason}" for name, reason in failures.items())


def _duration(seconds: float) -> str:
    return f"{seconds:.0f} s" if seconds < 90 else f"{seconds / 60:.0f} min"
