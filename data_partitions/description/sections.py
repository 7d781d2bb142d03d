"""The sections of `dataset.toml`, as typed records. A hyphen in the file is an underscore here.

Fields that are marked as local say where a hospital has its data and how its files are written; they may
differ between the hospitals. All other fields must be the same at all hospitals of a federation.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, PositiveFloat

from data_partitions.description.durations import parse_seconds
from data_partitions.manifest import Name, Split

# In the file "10 s" or "5 min"; here s.
Seconds = Annotated[float, BeforeValidator(parse_seconds), Field(gt=0)]
# A channel of the file, or the difference of two: ["C3", "-", "M2"].
ChannelNames = str | tuple[str, Literal["-"], str]
Format = Literal["wfdb", "edf", "csv", "parquet", "npy", "meds"]


def local(default: Any = ..., **options: Any) -> Any:
    """Declare a field that may differ between the hospitals of a federation."""
    return Field(default, json_schema_extra={"local": True}, **options)


class Section(BaseModel):
    """A section of the file: unknown keys are refused, and hyphens in keys become underscores."""

    model_config = ConfigDict(
        frozen=True,
        extra="forbid",
        alias_generator=lambda name: name.replace("_", "-"),
        validate_by_alias=True,
        validate_by_name=True,
    )


class DatasetSection(Section):
    """`[dataset]`: name, version, and the terms under which the data are used."""

    name: Name
    version: str = ""
    license: str = local("")


class FilesSection(Section):
    """`[files]`: where the recordings are, and how their files are written.

    Parameters
    ----------
    format
        "edf" includes EDF+ and BDF, "npy" includes npz, "csv" includes compressed files.
    path
        Pattern of the files below the source folder. `*` stands for a part of a name, `**` for folders,
        `{field}` for a part whose text is a field of the recording, `{field:4}` for four characters. A field
        with the name of a column of the table is that column's value.
    record
        Column that names the recording of a row, if a file has several recordings.
    time
        Column of times. Without it, rows are samples at `rate`.
    time_unit
        "datetime" for time stamps, or the unit of elapsed time, such as "h" or "min".
    time_format
        Format of time stamps as in strptime; by default ISO 8601.
    variable, value, value_unit
        Columns of a table in long form, with one measurement in each row. Without them, each signal has a
        column.
    separator, decimal, encoding
        How a text file is written.
    missing
        Texts of cells that stand for a missing value.
    ends_of_range
        Whether samples at the ends of the digital range of an EDF channel are measured or missing.
    rate
        Samples per second (Hz) of formats that do not state it.
    axes
        Axes of an array of samples: the words record, time and channel in their order.
    values, records, names
        Names of the arrays in an npz file: samples, ids of recordings, names of channels.
    channel_names
        Names of the channels of formats that do not state them.
    """

    format: Format = local()
    path: str = local(min_length=1)
    record: str = local("")
    time: str = local("")
    time_unit: str = local("datetime")
    time_format: str = local("")
    variable: str = local("")
    value: str = local("")
    value_unit: str = local("")
    separator: str = local(",")
    decimal: Literal[".", ","] = local(".")
    encoding: str = local("utf-8")
    missing: tuple[str, ...] = local(("", "NA", "NaN", "nan", "null"))
    ends_of_range: Literal["measured", "missing"] = local("measured")
    rate: PositiveFloat | None = local(None)
    axes: str = local("time channel")
    values: str = local("")
    records: str = local("")
    names: str = local("")
    channel_names: tuple[str, ...] = local(())


class TableSection(Section):
    """`[table]`: one row for each recording or stay.

    Parameters
    ----------
    path
        A csv or parquet file below the source folder.
    record, patient, site
        Columns, or patterns of fields such as "{night}". Without `patient`, each recording is a patient.
    start, end
        Columns with the time at which the recording or the stay starts and ends, as time stamps or in
        `time_unit`. Elapsed times in the files are counted from the start.
    time_unit, time_format
        As in `[files]`.
    separator, decimal, encoding
        How a text file is written.
    """

    path: str = local("")
    record: str = local("")
    patient: str = local("")
    site: str = local("")
    start: str = local("")
    end: str = local("")
    time_unit: str = local("datetime")
    time_format: str = local("")
    separator: str = local(",")
    decimal: Literal[".", ","] = local(".")
    encoding: str = local("utf-8")


class KeepSection(Section):
    """`[window] keep`: only windows within some minutes of windows with other classes than `around`."""

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
        Where windows start: at the start of the recording, or at the onsets of annotations.
    start
        Column of the table, or code of a MEDS event, with the time from which windows are counted.
    grid
        Time step of signals without a rate, such as "1 h".
    patch
        Length of a patch, or "auto".
    least_observed
        Share of the samples, over all signals, that a window must have.
    keep
        Windows to keep by their class.
    """

    length: Seconds
    stride: Seconds | None = None
    take: str = Field("all", pattern=r"^(all|first|last|random:[1-9]\d*)$")
    align: Literal["recording", "annotations"] = "recording"
    start: str = local("")
    grid: Seconds | None = None
    patch: Literal["auto"] | Seconds = "auto"
    least_observed: float = Field(0.0, ge=0, le=1)
    keep: KeepSection | None = None


class SignalSection(Section):
    """`[signals.NAME]`: one modality of the windows.

    Parameters
    ----------
    unit
        Unit of the windows. Files in other units are converted.
    rate
        Samples per second (Hz). Files of other rates are resampled. Without it, the signal has one value in
        each step of `window.grid`.
    channels
        Names in the files, of which the first that a file has is read; by default the name of the signal.
    like
        Signal whose fields are the defaults.
    range
        Lowest and highest plausible value. Values outside are dropped.
    within
        Which of several values in one step of the grid counts.
    scale
        Factor that corrects the values of the files.
    file_unit
        Unit of the files, where they do not state it or state it wrongly.
    """

    unit: str = ""
    rate: PositiveFloat | None = None
    channels: tuple[ChannelNames, ...] = local(())
    like: str = ""
    range: tuple[float, float] | None = None
    within: Literal["last", "first", "mean", "median", "min", "max", "sum"] = "last"
    scale: float = local(1.0)
    file_unit: str = local("")


class AnnotationsSection(Section):
    """`[annotations]`: events or states of a recording, with onset and duration.

    Parameters
    ----------
    source
        Kind of the files; key `from`.
    path
        Pattern of the files, as in `[files]`. For WFDB the suffix of the annotator is enough, such as "atr".
    onset, duration, text
        Columns of a csv file.
    time_unit
        Unit of the columns `onset` and `duration`, or "datetime".
    drop
        Texts that are ignored.
    """

    source: Literal["edf+", "csv", "nsrr-xml", "wfdb"] = local(alias="from")
    path: str = local("")
    onset: str = local("onset")
    duration: str = local("duration")
    text: str = local("text")
    time_unit: str = local("s")
    drop: tuple[str, ...] = ()


class TaskSection(Section):
    """`[task]`: what is predicted.

    Parameters
    ----------
    kind
        "none": windows without labels, for phase 1 alone.
    column
        Column of the table with the class, the event or the number; "" where annotations have it.
    columns
        Multi-label: the column of each label, in which the texts of `event` mean that the label applies.
    separator
        Multi-label: separates the labels in one column.
    name, unit
        Name of the label of a binary task or of a regression, and the unit of a regression.
    classes
        For each class the texts that stand for it.
    event
        Binary: the texts that stand for the event. With annotations, a window in which one of them begins has
        the event.
    drop
        Texts of windows or recordings that are excluded.
    of
        What has the label. Predictions for a recording or a patient are averages over its windows.
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
    classes: dict[str, tuple[str, ...]] = {}
    event: tuple[str, ...] = ("1",)
    drop: tuple[str, ...] = ()
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
    column
        Column of the table.
    val, test
        Texts in the column; all others are training.
    file
        MEDS file with subject_id and split (train, tuning, held_out).
    """

    by: Literal["hash", "column", "file"] = "hash"
    shares: dict[Split, float] = {"train": 0.70, "val": 0.15, "test": 0.15}
    column: str = local("")
    val: tuple[str, ...] = ()
    test: tuple[str, ...] = ()
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
    categories: dict[str, tuple[str, ...]] = {}
    range: tuple[float, float] | None = None


class Description(Section):
    """All of `dataset.toml`."""

    dataset: DatasetSection
    files: FilesSection
    table: TableSection = TableSection()
    window: WindowSection
    signals: dict[Name, SignalSection] = Field(min_length=1)
    annotations: AnnotationsSection | None = None
    task: TaskSection = TaskSection()
    split: SplitSection = SplitSection()
    covariates: dict[Name, CovariateSection] = {}
