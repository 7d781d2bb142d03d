"""Confidence intervals by bootstrap over patients."""

from __future__ import annotations

from typing import Any

import numpy as np

INTERVAL_LEVELS = (0.025, 0.975)

# By metric: {"value": float, "interval": [low, high] or None}
Metrics = dict[str, dict[str, Any]]


def bootstrap_counts(patients: np.ndarray, num_resamples: int) -> np.ndarray:
    """Return how often each window counts, `(1 + resample, window)`: row 0 counts each once."""
    _, patient_of_window = np.unique(patients, return_inverse=True)
    number = patient_of_window.max() + 1
    counts = np.random.default_rng(0).multinomial(number, np.full(number, 1 / number), size=num_resamples)
    return np.concatenate([np.ones((1, len(patients)), int), counts[:, patient_of_window]])


def with_intervals(metrics: list[dict[str, float]]) -> Metrics:
    """Give the metrics in `metrics[0]` 95 % intervals over the resamples that follow; None without any."""

    def interval(name: str) -> list[float] | None:
        values = np.array([resampled[name] for resampled in metrics[1:]])
        values = values[~np.isnan(values)]
        return np.quantile(values, INTERVAL_LEVELS).tolist() if len(values) else None

    return {name: {"value": value, "interval": interval(name)} for name, value in metrics[0].items()}
