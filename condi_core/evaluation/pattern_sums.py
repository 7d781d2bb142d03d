"""The sums of an imputer's evaluation by missingness pattern: their names, and the RMSE over all patterns."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from condi_core.evaluation.catalogue import EVALUATED_MISSINGNESS, imputation_metrics
from condi_core.evaluation.imputers import IMPUTER_ROWS


def rmse_over_patterns(sums: Mapping[str, np.ndarray], patch_weights: np.ndarray, method: str) -> float:
    """Return the RMSE of an imputer over all missingness patterns, from sums by pattern and method."""
    errors = [(patch_weights[:, None] * a).sum(0) for key, a in sums.items() if key.endswith(f"/{method}")]
    return imputation_metrics(sum(errors))["rmse"]


def scored_keys(samples: int) -> list[str]:
    """Return the names `<pattern>/<row>` of the sums of an imputer's evaluation with `samples` draws."""
    rows = [row for row in IMPUTER_ROWS.values() if row.scope == "federated" and (samples or not row.draws)]
    return [f"{pattern}/{row.name}" for pattern in EVALUATED_MISSINGNESS for row in rows]
