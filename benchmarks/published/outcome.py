"""What a protocol gives, and how it is printed: hidden cells with their hash, a table and a line of JSON."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pandas as pd

Rows = dict[str, dict[str, float]]
"""`{method: {metric: value}}`."""


@dataclass(frozen=True)
class Outcome:
    """Scores of one case of a protocol.

    Attributes
    ----------
    case : what was hidden, and of which windows, in words and as part of a file's name
    hidden : bool, the cells that were hidden, in the order of the protocol; None: the case hides none
    rows : scores
    notes : sentences under the table, such as the figures that the authors published
    costs : seconds, parameters and the like by method
    """

    case: str
    hidden: np.ndarray | None
    rows: Rows
    notes: tuple[str, ...] = ()
    costs: dict[str, dict[str, float | str]] = field(default_factory=dict)


class DataMissingError(Exception):
    """The files that a protocol needs are not there."""


def require_files(folder: Path, *names: str) -> None:
    """Raise DataMissingError if a file is not in the folder."""
    for name in names:
        if not (folder / name).exists():
            raise DataMissingError(f"{folder} has no {name}")


def write_cells(path: Path, hidden: np.ndarray) -> str:
    """Write hidden cells to an npy file and return the SHA-256 of the file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    np.save(path, hidden)
    return hashlib.sha256(path.read_bytes()).hexdigest()


def report(protocol: str, outcome: Outcome, cells: Path) -> None:
    """Write the hidden cells of a case to the folder `cells`, and print its table and its line of JSON."""
    line: dict[str, object] = {"protocol": protocol, "case": outcome.case}
    print(f"\n{protocol}, {outcome.case}")
    if outcome.hidden is not None:
        name = outcome.case.replace("%", "").replace(",", "").replace(" ", "-")
        path = cells / f"{protocol}-{name}.npy"
        line["sha256"] = write_cells(path, outcome.hidden)
        print(f"{outcome.hidden.sum()} hidden cells are in {path}, SHA-256 {line['sha256']}")
    print(pd.DataFrame(outcome.rows).T.round(4).to_string(na_rep=""))
    if outcome.costs:
        print(pd.DataFrame(outcome.costs).T.to_string())
    for note in outcome.notes:
        print(note)
    rows = {name: {k: float(v) for k, v in row.items()} for name, row in outcome.rows.items()}
    print(json.dumps(line | {"rows": rows, "costs": outcome.costs}), flush=True)
