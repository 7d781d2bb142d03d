"""The sections of `dataset.toml`, as typed records. A hyphen in the file is an underscore here.

Fields that are marked as local say where a hospital has its data and how its files are written; they may
differ between the hospitals. All other fields must be the same at all hospitals of a federation.
"""

from __future__ import annotations

from typing import Literal

from pydantic import Field, PositiveFloat, PrivateAttr

from data_partitions.description.agreed_text import write_agreed_text
from data_partitions.description.section import (
    Channels,
    PatchSeconds,
    Range,
    Seconds,
    Section,
    Shares,
    Take,
    Texts,
    local,
)
from data_partitions.description.source_sections import (
    AnnotationsSection,
    DatasetSection,
    FilesSection,
    TableSection,
)
from data_partitions.description.toml_lines import Place, nearest_place
from data_partitions.manifest import Name


class KeepSection(Section):
    """`[window] keep`: only the part of a class that is near other classes, such as wake around a night.

    Parameters
    ----------
    around
        The class.
    minutes
        Time to the nearest window of another class up to which windows of the class are used.
    """

    around: str
    minutes: float = Field(ge=0)


class WindowSection(Section):
    """`[window]`: how recordings are cut into windows.

    Parameters
    ----------
    length
        Length of a window.
    stride
        Time from the start of a window to that of the next; by default the length.
    take
        Which windows of a recording: "all", "first", "last", or "random:3" for three, drawn by a hash of the
        recording's name.
    align
        Where windows start: at the start of the "recording", or at the onsets of "annotations".
    start
        Column of the table, or code of a MEDS event, with the time from which windows are counted.
    grid
        Time step of signals without a rate, such as "1 h".
    patch
        Length of a patch, the unit that is imputed. "auto" chooses 50 to 200 patches with whole samples of
        each signal, or a step of the grid.
    least_observed
        Share of the samples, over all signals, that a window must have.
    keep
        Class of which only windows near others are used, such as { around = "wake", minutes = 30 }.
    """

    length: Seconds
    stride: Seconds | None = None
    take: Take = "all"
    align: Literal["recording", "annotations"] = "recording"
    start: str = local("")
    grid: Seconds | None = None
    patch: PatchSeconds = "auto"
    least_observed: float = Field(0.0, ge=0, le=1)
    keep: KeepSection | None = None


class SignalSection(Section):
    """`[signals.NAME]`: one modality of the windows.

    Parameters
    ----------
    unit
        Unit of the windows; required. Files in other units are converted.
    rate
        Samples per second (Hz). Files of other rates are resampled. Without it, the signal has one value in
        each step of `window.grid`.
    channels
        Exact names in the files, of which the first that a file has is read; by default the name of the
        signal. ["C3", "-", "M2"] is the difference of two channels.
    like
        Signal whose fields, except `channels`, are the defaults.
    range
        Lowest and highest plausible value. Values outside are dropped.
    within
        Which of several values in one step of the grid counts: "last", "first", "mean", "median", "min",
        "max" or "sum".
    scale
        Factor that corrects the values of the files.
    file_unit
        Unit of the files, where they do not state it or state it wrongly.
    channel_units
        Unit of single channels of a table over time, such as { "temperature F" = "°F" }.
    """

    unit: str = ""
    rate: PositiveFloat | None = None
    channels: Channels = local(())
    like: str = ""
    range: Range | None = None
    within: Literal["last", "first", "mean", "median", "min", "max", "sum"] = "last"
    scale: float = local(1.0)
    file_unit: str = local("")
    channel_units: dict[str, str] = local({})


class TaskSection(Section):
    """`[task]`: what is predicted.

    Parameters
    ----------
    kind
        "none" (windows without labels, for phase 1 alone), "binary", "single-label", "multi-label",
        "ordinal" or "regression".
    column
        Column of the table with the class, the event or the number; "" where annotations have it.
    columns
        Multi-label: the column of each label, in which the texts of `event` mean that the label applies.
    separator
        Multi-label: separates the labels in one column.
    name
        Binary, regression: name of the label.
    unit
        Regression: unit of the label.
    range
        Regression: lowest and highest plausible label. Labels outside are missing, and predictions are
        inside. Those of `until` are never below 0.
    until
        Regression: "end" for the time from the end of the window until `table.end`, in `unit`, such as "d".
    classes
        For each class the texts that stand for it.
    event
        Binary, and `columns`: the texts that stand for the event. With annotations, a window in which one of
        them begins has the event.
    drop
        Texts of windows or recordings that are excluded.
    of
        What has the label: the "window", the "recording" or the "patient". Predictions for a recording or a
        patient are averages over its windows.
    after
        Time from the start of the window at which the outcome must not be known yet; stays that end before
        are excluded.
    file
        MEDS label file (subject_id, prediction_time, boolean_value or another value column).
    rule
        A sentence for readers on how the labels follow from the source.
    """

    kind: Literal["none", "binary", "single-label", "multi-label", "ordinal", "regression"] = "none"
    column: str = local("")
    columns: dict[str, str] = local({})
    separator: str = local("")
    name: str = ""
    unit: str = ""
    range: Range | None = None
    until: Literal["", "end"] = ""
    classes: dict[str, Texts] = {}
    event: Texts = ("1",)
    drop: Texts = ()
    of: Literal["window", "recording", "patient"] = "recording"
    after: Seconds | None = None
    file: str = local("")
    rule: str = ""


class SplitSection(Section):
    """`[split]`: training, validation and test patients.

    Parameters
    ----------
    by
        "hash" of the patient, a "column" of the table, or a MEDS "file" of subjects.
    shares
        Shares of the patients by hash.
    within
        Whether the shares are of the patients of each "site", so that a hospital has the same splits alone
        and with others, or of "all".
    column
        Column of the table.
    val
        Texts of the column that stand for validation.
    test
        Texts of the column that stand for test; all others are training.
    file
        MEDS file with subject_id and split (train, tuning, held_out).
    """

    by: Literal["hash", "column", "file"] = "hash"
    shares: Shares = {"train": 0.70, "val": 0.15, "test": 0.15}
    within: Literal["site", "all"] = "site"
    column: str = local("")
    val: Texts = ()
    test: Texts = ()
    file: str = local("")


class CovariateSection(Section):
    """`[covariates.NAME]`: a property of the patient or the stay.

    Parameters
    ----------
    column
        Column of the table; by default the name of the covariate.
    unit
        Unit of a number.
    groups
        Bounds of the subgroups of a number, such as [40, 65, 80].
    categories
        For each category the texts that stand for it; without them the covariate is a number.
    range
        Lowest and highest plausible number. Numbers outside are missing.
    """

    column: str = local("")
    unit: str = ""
    groups: tuple[float, ...] = ()
    categories: dict[str, Texts] = {}
    range: Range | None = None


class Description(Section):
    """All of `dataset.toml`, as `read_description` reads it."""

    dataset: DatasetSection
    files: FilesSection
    table: TableSection = TableSection()
    window: WindowSection
    signals: dict[Name, SignalSection] = Field(min_length=1)
    annotations: AnnotationsSection | None = None
    task: TaskSection = TaskSection()
    split: SplitSection = SplitSection()
    covariates: dict[Name, CovariateSection] = {}

    _places: dict[str, Place] = PrivateAttr(default_factory=dict)

    def place(self, key: str) -> str:
        """Return where a key such as "task.classes" is written, as "dataset.toml, line 12".

        For a key that is not in the file it is the place of the section; "" without a file.
        """
        return str(self.find_place(key) or "")

    def find_place(self, key: str) -> Place | None:
        """Return the file and the line of `place`; None without a file."""
        return nearest_place(self._places, key)

    def agreed_text(self) -> str:
        """Return what the hospitals agree on, as text that is equal if and only if they agree."""
        return write_agreed_text(self)
