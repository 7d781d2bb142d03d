"""The sections of `dataset.toml` that say where the data are and how the files are written."""

from __future__ import annotations

from typing import Literal

from pydantic import PositiveFloat

from data_partitions.description.section import Encoding, Section, Separator, Text, Texts, local
from data_partitions.manifest import Name

Format = Literal["wfdb", "edf", "csv", "parquet", "npy", "meds"]
TimeUnit = Literal["datetime", "ms", "s", "min", "h", "d"]


class DatasetSection(Section):
    """`[dataset]`: what the hospitals call the data.

    Parameters
    ----------
    name
        Name of the data set, which becomes part of names of runs.
    version
        Version of this description; raise it when you change what is agreed.
    license
        Terms under which the data are used, such as the number of the ethics vote.
    """

    name: Name
    version: Text = ""
    license: Text = local("")


class FilesSection(Section):
    """`[files]`: where the recordings are, and how their files are written.

    Parameters
    ----------
    format
        "wfdb", "edf" (also EDF+ and BDF), "csv" (also compressed), "parquet", "npy" (also npz) or "meds".
    path
        Pattern of the files below the source folder. `*` stands for a part of a name, `**` for folders,
        `{field}` for a part whose text is a field of the recording, `{field:4}` for four characters. A field
        with the name of a column of the table is that column's value. An archive (.tar.gz) counts as the
        folder of its files.
    record
        Column that names the recording of a row, if a file has several recordings; its rows have times.
    time
        Column of times, or a pattern of columns, such as "{date} {clock}". Without it, rows are samples at
        `rate`.
    time_unit
        "datetime" for time stamps, or the unit of elapsed time, such as "h" or "min".
    time_format
        Format of time stamps as in strptime; by default ISO 8601.
    variable
        Long form, with one measurement in each row: column with the name of the signal. Without it, each
        signal has a column.
    value
        Long form: column with the number.
    value_unit
        Long form: column with the unit of the number.
    separator
        Between the cells of a csv file, such as ";" or "\\t".
    decimal
        Decimal mark of a csv file, "." or ",".
    encoding
        Of a csv file, such as "latin-1".
    missing
        Texts of cells that stand for a missing value.
    ends_of_range
        Whether samples at the ends of the digital range of an EDF channel are "measured" or "missing".
    gains
        Whether samples of WFDB records are divided by the gains of their headers. With "none", where they are
        wrong, samples are the whole numbers of the file, and `scale` of each signal brings them to its unit.
    rate
        Samples per second (Hz) of formats that do not state it.
    axes
        Axes of an array of samples: the words record, time and channel in their order.
    values
        Name of the array of samples in an npz file.
    records
        Name of the array with the ids of the recordings in an npz file.
    names
        Name of the array with the names of the channels in an npz file.
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
    separator: Separator = local(",")
    decimal: Literal[".", ","] = local(".")
    encoding: Encoding = local("utf-8")
    missing: Texts = local(("", "NA", "NaN", "nan", "null"))
    ends_of_range: Literal["measured", "missing"] = local("measured")
    gains: Literal["header", "none"] = local("header")
    rate: PositiveFloat | None = local(None)
    axes: str = local("time channel")
    values: str = local("")
    records: str = local("")
    names: str = local("")
    channel_names: Texts = local(())


class JoinSection(Section):
    """`[table.join.NAME]`: another table, whose columns are added. Of equal names the first column is used.

    Parameters
    ----------
    path
        A csv or parquet file below the source folder.
    on
        Column of the table, or of a table that is joined before it.
    key
        Column of this file with the same texts; by default `on`. Each text has one row.
    """

    path: str = local(min_length=1)
    on: str = local(min_length=1)
    key: str = local("")


class TableSection(Section):
    """`[table]`: one row for each recording or stay.

    Parameters
    ----------
    path
        A csv or parquet file below the source folder, or a pattern of files with the same columns.
    join
        Other tables, such as one of hospitals.
    properties
        Variables of files in long form that become columns, such as the ward: the text of their first row. Of
        MEDS, codes with `*`, which stands for the text, such as "GENDER//*".
    record
        Column with the recording or stay.
    patient
        Column, or a pattern of fields such as "{night:5}". Without it, each recording is a patient.
    site
        Column or pattern with the hospital, where the data are of several.
    sites
        For each name of a hospital the texts in `site` that stand for it; by default each text is a name.
    start
        Column with the time at which the recording or the stay starts. Elapsed times in the files are counted
        from it.
    end
        Column with the time at which the stay ends. Of MEDS, the code of the event that ends it.
    time_unit
        Of `start` and `end`: "datetime", or the unit of a number.
    time_format
        Of `start` and `end`, as in `[files]`.
    separator
        As in `[files]`.
    decimal
        As in `[files]`.
    encoding
        As in `[files]`.
    """

    path: str = local("")
    join: dict[Name, JoinSection] = local({})
    properties: Texts = local(())
    sites: dict[Name, Texts] = local({})
    record: str = local("")
    patient: str = local("")
    site: str = local("")
    start: str = local("")
    end: str = local("")
    time_unit: TimeUnit = local("datetime")
    time_format: str = local("")
    separator: Separator = local(",")
    decimal: Literal[".", ","] = local(".")
    encoding: Encoding = local("utf-8")


class AnnotationsSection(Section):
    """`[annotations]`: events or states of a recording, with onset and duration.

    Parameters
    ----------
    source
        "edf+", "csv", "nsrr-xml" or "wfdb".
    path
        Pattern of the files, as in `[files]`. For WFDB the suffix of the annotator is enough, such as "atr".
        Without it, EDF+ annotations are those of the recordings themselves.
    onset
        Column of a csv file with the start.
    duration
        Column of a csv file with the duration.
    text
        Column of a csv file with the text.
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
