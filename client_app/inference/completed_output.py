"""What completed partitions and completed files have in common: quantiles, provenance, and a summary."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any, Literal

from data_partitions.sentences import count_noun

QUANTILE_LEVELS = (0.05, 0.25, 0.5, 0.75, 0.95)
QUANTILES_FOLDER = "quantiles"


@dataclass
class ImputeSummary:
    """What a call of `condi impute` did; `unit` is what its numbers count."""

    unit: Literal["windows", "files"]
    completed: int = 0  # by this call
    completed_before: int = 0  # by an earlier one
    without_gaps: int = 0  # of this call, in which nothing was missing
    skipped: list[str] = field(default_factory=list)  # why files could not be used, a sentence each
    notes: list[str] = field(default_factory=list)  # what was unusual in files that were used

    def as_dict(self) -> dict[str, Any]:
        """Return the fields for JSON, the optional ones only where there is something to say."""
        optional = ("without_gaps", "notes")
        return {key: value for key, value in asdict(self).items() if value or key not in optional}

    def sentence(self) -> str:
        """Say what was done, such as "completed 3 files (nothing was missing in 1 file), skipped 0"."""
        noun = self.unit.removesuffix("s")
        text = f"completed {count_noun(self.completed, noun)}"
        if self.without_gaps:
            text += f" (nothing was missing in {count_noun(self.without_gaps, noun)})"
        if self.completed_before:
            text += f", {self.completed_before} had been completed before"
        return f"{text}, skipped {len(self.skipped)}"


def quantile_folder(out: Path, level: float) -> Path:
    """Return the folder of the quantiles of a level."""
    return out / QUANTILES_FOLDER / f"q{round(100 * level):02d}"


def provenance_json(source: Path, made_from: dict[str, Any], details: dict[str, Any]) -> str:
    """Return the content of a provenance file: what the output was made from, when and by which version."""
    provenance = {
        "input": str(source),
        **made_from,
        "made": datetime.now(UTC).isoformat(timespec="seconds"),
        "condi": version("condi"),
        **details,
    }
    return json.dumps(provenance, indent=1) + "\n"
