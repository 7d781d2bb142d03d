"""The manifest of a partition, and the fields on which the sites of a federation must agree."""

import hashlib
import math
from typing import Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    FiniteFloat,
    StringConstraints,
    field_validator,
    model_validator,
)

from data_partitions.label_checks import LABEL_RULES

Split = Literal["train", "val", "test"]
SPLITS: tuple[Split, ...] = ("train", "val", "test")


def _require_known_task(task: str) -> str:
    if task not in LABEL_RULES:
        raise ValueError(f"task must be one of {', '.join(LABEL_RULES)}, got {task}")
    return task


def _require_printable(text: str) -> str:
    if not text.isprintable():
        raise ValueError("must have no control characters")
    return text


# Texts and numbers are limited, because a coordinator reads the manifests of sites that it does not know.
MAX_TEXT_CHARS = 200
MAX_PROSE_CHARS = 10**5  # of texts for readers
MAX_SAMPLES = 10**7  # in a patch, and patches in a window
MAX_WINDOWS = 10**9
MAX_ITEMS = 10**4  # modalities, labels or covariates
MAX_DESCRIPTION_CHARS = 10**6
Text = Annotated[str, StringConstraints(max_length=MAX_TEXT_CHARS), AfterValidator(_require_printable)]
# A name that becomes the name of a file or a directory.
Name = Annotated[
    str,
    StringConstraints(pattern=r"^[^/\\.\x00][^/\\\x00]*$", max_length=100),
    AfterValidator(_require_printable),
]
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
    range
        Lowest and highest plausible value, in the unit of the modality.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: Name
    unit: Text
    rate: float = Field(gt=0, le=1e9)
    samples_per_patch: int = Field(ge=1, le=MAX_SAMPLES)
    present: bool
    range: tuple[float, float] | None = None

    @model_validator(mode="after")
    def _require_range(self) -> "Modality":
        if self.range and not -math.inf < self.range[0] < self.range[1] < math.inf:
            raise ValueError(f"{self.name} must have a range from low to high, got {list(self.range)}")
        return self


class Covariate(BaseModel):
    """A property of the patient or the stay, such as the age: a number, or one of some categories.

    Parameters
    ----------
    name
        Name of the covariate; its column in `windows.csv` is `column`.
    unit
        Unit of a number.
    categories
        Names of the categories; empty for a number.
    groups
        Bounds of the subgroups of a number, ascending; a subgroup includes its lower bound.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: Name
    unit: Text = ""
    categories: tuple[Text, ...] = ()
    groups: tuple[float, ...] = ()

    @model_validator(mode="after")
    def _require_number_or_categories(self) -> "Covariate":
        if self.categories and (self.groups or self.unit):
            raise ValueError(f"{self.name} has categories, and therefore no unit and no groups")
        if len(set(self.categories)) < len(self.categories) or "" in self.categories:
            raise ValueError(f"the categories of {self.name} must have different names")
        if list(self.groups) != sorted(set(self.groups)) or not all(map(math.isfinite, self.groups)):
            raise ValueError(f"the groups of {self.name} must be ascending numbers, got {list(self.groups)}")
        return self

    @property
    def column(self) -> str:
        """Name of the column in `windows.csv`."""
        return f"covariate {self.name}"


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
        Names of the labels; empty without a task.
    task
        Kind of task, one of `LABEL_RULES`.
    label_unit
        Unit of the labels of a regression.
    label_range
        Lowest and highest plausible label of a regression, which bound its predictions; None for no bound.
    covariates
        Properties of the patients or stays, in the order of `Partition.covariates`.
    description
        Text of the description of the data set on which the sites have agreed; "" without one.
    description_lines
        For each line of it the line of the site's dataset.toml, for messages; () if they are not known.
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

    format: Literal[2] = 2
    dataset: Name
    version: Text
    site: Name
    modalities: tuple[Modality, ...] = Field(min_length=1, max_length=MAX_ITEMS)
    patch_seconds: float = Field(gt=0, le=1e9)
    patches: int = Field(ge=1, le=MAX_SAMPLES)
    labels: tuple[Text, ...] = Field(max_length=MAX_ITEMS)
    task: Task
    label_unit: Text = ""
    label_range: tuple[FiniteFloat | None, FiniteFloat | None] = (None, None)
    covariates: tuple[Covariate, ...] = Field((), max_length=MAX_ITEMS)
    description: str = Field("", max_length=MAX_DESCRIPTION_CHARS)
    description_lines: tuple[Annotated[int, Field(ge=0)], ...] = Field((), max_length=MAX_DESCRIPTION_CHARS)
    label_rule: str = Field(max_length=MAX_PROSE_CHARS)
    windows: dict[Split, Annotated[int, Field(ge=0, le=MAX_WINDOWS)]]
    license: str = Field(max_length=MAX_PROSE_CHARS)
    made_by: str

    @field_validator("format", mode="before")
    @classmethod
    def _require_this_format(cls, number: Any) -> Any:
        if number != 2:
            raise ValueError(f"expected format 2 of a partition, got {number}: prepare it again")
        return number

    @model_validator(mode="after")
    def _require_consistent_fields(self) -> "Manifest":
        for field, names in (
            ("modalities", [m.name for m in self.modalities]),
            ("labels", list(self.labels)),
            ("covariates", [c.name for c in self.covariates]),
        ):
            if len(set(names)) < len(names):
                raise ValueError(f"{field} must have different names, got {', '.join(names)}")
        for m in self.modalities:
            if abs(m.rate * self.patch_seconds - m.samples_per_patch) > 1e-6 * m.samples_per_patch:
                raise ValueError(
                    f"{m.name} at {m.rate:g} Hz has {m.rate * self.patch_seconds:g} samples in "
                    f"{self.patch_seconds:g} s, but samples_per_patch is {m.samples_per_patch}"
                )
        LABEL_RULES[self.task].check_number(len(self.labels))
        if not any(m.present for m in self.modalities):
            raise ValueError("at least one modality must be present")
        if set(self.windows) != set(SPLITS):
            raise ValueError(f"windows must count train, val and test, got {list(self.windows)}")
        return self

    def schema_fields(self) -> dict[str, Any]:
        """Return what all sites of a federation must agree on, as plain JSON values."""
        agreed = {"name", "unit", "samples_per_patch", "range"}
        modalities = [m.model_dump(mode="json", include=agreed) for m in self.modalities]
        return {
            "dataset": self.dataset,
            "modalities": modalities,
            "patch_seconds": self.patch_seconds,
            "patches": self.patches,
            "labels": list(self.labels),
            "task": self.task,
            "label_unit": self.label_unit,
            "label_range": list(self.label_range),
            "covariates": [c.model_dump(mode="json") for c in self.covariates],
            "description": self.description,
        }

    @property
    def description_hash(self) -> str:
        """First 12 hexadecimal digits of the sha256 of the description; "" without one."""
        return hashlib.sha256(self.description.encode()).hexdigest()[:12] if self.description else ""

    @property
    def shape(self) -> tuple[int, int, int]:
        """Shape of a window (modality, patch, sample), padded to the highest number of samples per patch."""
        return len(self.modalities), self.patches, max(m.samples_per_patch for m in self.modalities)
