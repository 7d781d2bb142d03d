"""The sections of `dataset.toml` that say where the data are and how the files are written."""

from __future__ import annotations

from typing import Literal

from pydantic import PositiveFloat

from data_partitions.description.section import Section, Text, Texts, local
from data_partitions.manifest import Name

Format = Literal["wfdb", "edf", "csv", "parquet", "npy", "meds"]
TimeUnit = Literal["datetime", "ms", "s", "min", "h", "d"]


class DatasetSection(Section):
    """`[dataset]`: name, version, and the terms under which the data are used."""

    name: Name
    version: Text = ""
    license: Text = local("")


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
    gains
        Whether samples of WFDB records are divided by the gains of their headers. With "none", where they are
        wrong, samples are the whole numbers of the file, and `scale` of each signal brings them to its unit.
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
    time_unit: TimeUnit = local("datetime")
    time_format: str = local("")
    variable: str = local("")
    value: str = local("")
    value_unit: str = local("")
    separator: str = local(",")
    decimal: Literal[".", ","] = local(".")
    encoding: str = local("utf-8")
    missing: Texts = local(("", "NA", "NaN", "nan", "null"))
    ends_of_range: Literal["measured", "missing"] = local("measured")
    gains: Literal["header", "none"] = local("header")
    rate: PositiveFloat | None = local(None)
    axes: str = local("time channel")
    values: str = local("")
    records: str = local("")
    names: str = local("")
    channel_names: Texts = local(())


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
    time_unit: TimeUnit = local("datetime")
    time_format: str = local("")
    separator: str = local(",")
    decimal: Literal[".", ","] = local(".")
    encoding: str = local("utf-8")


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
    time_unit: TimeUnit = local("s")
    drop: Texts = ()
