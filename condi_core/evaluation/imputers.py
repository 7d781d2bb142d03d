"""The imputers of a run's tables, each with its label and with who has trained it."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class ImputerRow:
    """An imputer in the tables of an evaluation; all rows are scored on the same hidden samples.

    Attributes
    ----------
    name : its key in result.json and in the names of sums
    label : its name in tables and figures
    naive : whether it is a baseline without a diffusion model
    learned : whether it depends on the training of phase 1
    draws : whether its point is the median of draws, which have a quantile loss and an interval
    scope : who trains the imputer; for one that is not federated, this is the only row that a run reports
    """

    name: str
    label: str
    naive: bool = False
    learned: bool = True
    draws: bool = False
    scope: str = "federated"


_ROWS = (
    ImputerRow(name="mean", label="mean of the modality", naive=True, learned=False),
    ImputerRow(name="linear", label="linear interpolation", naive=True, learned=False),
    ImputerRow(name="estimate", label="closed-form estimate", naive=True),
    ImputerRow(name="condi", label="CondI, point estimate"),
    ImputerRow(name="condi, draws", label="CondI, median of draws", draws=True),
    ImputerRow(name="local", label="local training", scope="local"),
    ImputerRow(name="pooled", label="centralised training", scope="centralised"),
)
IMPUTER_ROWS: dict[str, ImputerRow] = {row.name: row for row in _ROWS}


def find_own_imputer(names: Collection[str], scope: str = "federated") -> str | None:
    """Return which of the scored imputers is a run's own.

    It is the first whose network phase 1 has trained: of those that were trained in the scope of the run's
    method, if there is any.
    """
    rows = [row for row in IMPUTER_ROWS.values() if not (row.naive or row.draws) and row.name in names]
    return next((row.name for row in sorted(rows, key=lambda row: row.scope != scope)), None)


def imputer_label(name: str) -> str:
    """Return the label of an imputer's row, or its name if the catalogue does not have it."""
    row = IMPUTER_ROWS.get(name)
    return row.label if row else name
