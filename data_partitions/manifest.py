"""The manifest of a partition, and the fields on which the sites of a federation must agree."""

from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, StringConstraints, model_validator

from data_partitions.label_checks import LABEL_CHECKS

Split = Literal["train", "val", "test"]
SPLITS: tuple[Split, ...] = ("train", "val", "test")


def _require_known_task(task: str) -> str:
    if task not in LABEL_CHECKS:
        raise ValueError(f"task must be one of {', '.join(LABEL_CHECKS)}, got {task}")
    return task


# A name that becomes the name of a file or a directory.
Name = Annotated[str, StringConstraints(pattern=r"^[^/\\.\x00][^/\\\x00]*$", max_length=100)]
Task = Annotated[str, AfterValidator(_require_known_task)]


class Modality(BaseModel):
    """One stream of samples at one rate.

    Parameters
    ----------
    name
        Name of the modality and of its file of values.
    unit
        Unit of the values, as in the source.
    rate
        Samples per second (Hz).
    samples_per_patch
        Samples in one patch of the window.
    present
        Whether the site has the modality.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: Name
    unit: str
    rate: float = Field(gt=0)
    samples_per_patch: int = Field(ge=1)
    present: bool


class Manifest(BaseModel):
    """What a partition holds: `manifest.json`.

    Parameters
    ----------
    dataset, version
        Name and version of the data set.
    site
        Name of the site.
    modalities
        Modalities in the order of the second axis of windows.
    patch_seconds
        Length of a patch, in s.
    patches
        Number of patches in a window.
    labels
        Names of the labels.
    task
        Kind of task, one of `LABEL_CHECKS`.
    ordered
        Whether the labels are steps of one scale, such as days.
    label_rule
        How the labels follow from the source, as text for readers.
    windows
        Number of windows in each split.
    license
        The terms of the source, and the publication to cite.
    made_by
        The command that made the partition, with its settings.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    format: Literal[1] = 1
    dataset: str
    version: str
    site: Name
    modalities: tuple[Modality, ...] = Field(min_length=1)
    patch_seconds: float = Field(gt=0)
    patches: int = Field(ge=1)
    labels: tuple[str, ...] = Field(min_length=1)
    task: Task
    ordered: bool = False
    label_rule: str
    windows: dict[Split, Annotated[int, Field(ge=0)]]
    license: str
    made_by: str

    @model_validator(mode="after")
    def _require_consistent_fields(self) -> "Manifest":
        for field, names in (("modalities", [m.name for m in self.modalities]), ("labels", self.labels)):
            if len(set(names)) < len(names):
                raise ValueError(f"{field} must have different names, got {', '.join(names)}")
        for m in self.modalities:
            if abs(m.rate * self.patch_seconds - m.samples_per_patch) > 1e-6 * m.samples_per_patch:
                raise ValueError(
                    f"{m.name} at {m.rate:g} Hz has {m.rate * self.patch_seconds:g} samples in "
                    f"{self.patch_seconds:g} s, but samples_per_patch is {m.samples_per_patch}"
                )
        if not any(m.present for m in self.modalities):
            raise ValueError("at least one modality must be present")
        if set(self.windows) != set(SPLITS):
            raise ValueError(f"windows must count train, val and test, got {list(self.windows)}")
        return self

    def schema_fields(self) -> dict[str, Any]:
        """Return what all sites of a federation must agree on, as plain JSON values."""
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
        """Shape of a window (modality, patch, sample), padded to the highest number of samples per patch."""
        return len(self.modalities), self.patches, max(m.samples_per_patch for m in self.modalities)
