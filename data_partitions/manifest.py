"""What a partition says about itself, and what the sites of a federation must agree on."""

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, model_validator

Split = Literal["train", "val", "test"]
SPLITS: tuple[Split, ...] = ("train", "val", "test")

# Names that become names of files or directories.
Name = Annotated[str, StringConstraints(pattern=r"^[^/\\.\x00][^/\\\x00]*$", max_length=100)]


class Modality(BaseModel):
    """One stream: its unit, its rate (Hz) and how many samples of it one patch holds."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: Name
    unit: str
    rate: float = Field(gt=0)
    samples_per_patch: int = Field(ge=1)
    present: bool


class Manifest(BaseModel):
    """What a partition holds. `patch_seconds` in s; `windows` counts the windows of each split."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    format: Literal[1] = 1
    dataset: str
    version: str
    site: Name
    modalities: tuple[Modality, ...] = Field(min_length=1)
    patch_seconds: float = Field(gt=0)
    patches: int = Field(ge=1)
    labels: tuple[str, ...] = Field(min_length=1)
    task: Literal["multi-label", "single-label"]
    ordered: bool = False  # the labels are steps of one scale, such as days
    label_rule: str
    windows: dict[Literal["train", "val", "test"], Annotated[int, Field(ge=0)]]
    license: str
    made_by: str

    @model_validator(mode="after")
    def _consistent(self):
        for what, names in (("modalities", [m.name for m in self.modalities]), ("labels", self.labels)):
            if len(set(names)) < len(names):
                raise ValueError(f"{what} must have different names, got {', '.join(names)}")
        for m in self.modalities:
            if abs(m.rate * self.patch_seconds - m.samples_per_patch) > 1e-6 * m.samples_per_patch:
                raise ValueError(
                    f"{m.name} at {m.rate:g} Hz has {m.rate * self.patch_seconds:g} samples in "
                    f"{self.patch_seconds:g} s, samples_per_patch says {m.samples_per_patch}"
                )
        if not any(m.present for m in self.modalities):
            raise ValueError("at least one modality must be present")
        if set(self.windows) != set(SPLITS):
            raise ValueError(f"windows must count train, val and test, got {list(self.windows)}")
        return self

    def schema(self) -> dict:
        """What all sites of a federation must agree on, as plain JSON values."""
        modalities = [m.model_dump(include={"name", "unit", "samples_per_patch"}) for m in self.modalities]
        return {
            "dataset": self.dataset,
            "modalities": modalities,
            "patch_seconds": self.patch_seconds,
            "patches": self.patches,
            "labels": list(self.labels),
            "task": self.task,
            "ordered": self.ordered,
        }

    @property
    def shape(self) -> tuple[int, int, int]:
        """(modality, patch, sample) of a window, padded to the most samples per patch of any modality."""
        return len(self.modalities), self.patches, max(m.samples_per_patch for m in self.modalities)
