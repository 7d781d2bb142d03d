"""The data sets of a study, and how their patients are assigned to sites."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

NUM_SEEDS = 2**63  # settings are written as signed numbers of 64 bits
PositiveFloat = Annotated[float, Field(gt=0, allow_inf_nan=False)]


class StudyTable(BaseModel):
    """A table of a study's file: unknown keys are refused, and an underscore is a hyphen in the file."""

    model_config = ConfigDict(
        frozen=True, extra="forbid", strict=True, alias_generator=lambda name: name.replace("_", "-")
    )


class DatasetSpec(StudyTable):
    """A data set: one that CondI knows, one that a file describes, or a federation that was prepared.

    Attributes
    ----------
    dataset : name of the data set, as `condi prepare` takes it
    options : options of its reader, such as rate = 100
    file : description of the data set, a dataset.toml
    local : file with what differs from `file` at the hospital of `source`
    source : folder of the files
    federation : directory that `condi prepare` has written
    """

    dataset: Literal["demo", "ptb-xl", "sleep-edf", "mimic-iv", "physionet-2012"] | None = None
    file: str = ""
    local: str = ""
    federation: str = ""
    source: str = ""
    options: dict[str, str | int | float | bool] = {}

    def relative_to(self, base: Path) -> DatasetSpec:
        """Return the data set with paths that start from `base`."""
        paths = {key: getattr(self, key) for key in ("file", "local", "federation", "source")}
        absolute = {key: str(base / Path(os.path.expanduser(path))) for key, path in paths.items() if path}
        return self.model_copy(update=absolute)

    def complaints(self) -> Iterator[str]:
        """Yield what is wrong with the keys together."""
        kinds = [key for key in ("dataset", "file", "federation") if getattr(self, key)]
        if len(kinds) != 1:
            yield f"expected one of dataset, file and federation, got {' and '.join(kinds) or 'none'}"
            return
        uses = {"local": "file", "options": "dataset"}
        for key, kind in uses.items():
            if getattr(self, key) and kind not in kinds:
                yield f"{key} has no effect without {kind}: remove it"
        if self.federation and self.source:
            yield "a federation is prepared already: remove source"


class SplitSpec(StudyTable):
    """How patients are assigned to sites; without `seed`, each seed of the study has its own assignment."""

    split: Literal["natural", "iid", "dirichlet"] = "natural"
    sites: Annotated[int, Field(ge=1)] | None = None
    alpha: PositiveFloat = 0.5
    modalities: int | str = "all"
    seed: Annotated[int, Field(ge=0, lt=NUM_SEEDS)] | None = None

    @property
    def label(self) -> str:
        parts = [self.split + (f" {self.alpha:g}" if self.split == "dirichlet" else "")]
        parts += [f"{self.sites} sites"] if self.sites else []
        parts += [f"{self.modalities} modalities"] if self.modalities != "all" else []
        parts += [f"split {self.seed}"] if self.seed is not None else []
        return ", ".join(parts)

    def seed_under(self, study_seed: int) -> int:
        """Return the seed of the assignment of patients under a seed of the study."""
        if self.seed is not None:
            return self.seed
        is_random = self.split != "natural" or self.modalities != "all"
        return study_seed if is_random else 0


class AsPrepared:
    """The assignment of patients in a federation that was prepared before the study."""

    label = "as prepared"
    sites: int | None = None

    def seed_under(self, study_seed: int) -> int:
        """Return the same seed for all seeds of a study, because they have one federation."""
        return 0


AS_PREPARED = AsPrepared()
