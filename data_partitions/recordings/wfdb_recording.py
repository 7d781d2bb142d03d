"""WFDB records, opened by their headers."""

from pathlib import Path
from typing import Any

from data_partitions.errors import DataError
from data_partitions.recordings.recording import Output, Recording
from data_partitions.recordings.wfdb_header import read_wfdb_header
from data_partitions.recordings.wfdb_output import WfdbOutput, WfdbSegmentsOutput
from data_partitions.recordings.wfdb_segments import WfdbSegments
from data_partitions.recordings.wfdb_single_record import WfdbRecord

SUFFIXES = (".hea",)


def open(file: Path, *, gains: str = "header", **_: Any) -> Recording:  # noqa: A001
    """Open a record by its header; DataError when it cannot be read.

    With `gains = "none"`, those of the header and the baselines are ignored: samples are those of the file.
    """
    header = read_wfdb_header(file)
    uses_gains = gains != "none"
    if header.segments:
        return WfdbSegments(file, header, uses_gains)
    if not header.signals:
        raise DataError(f"{file} describes no signal")
    return WfdbRecord(file, header if uses_gains else header.without_gains())


def create_output(recording: WfdbRecord | WfdbSegments, folder: Path) -> Output:
    """Copy a record to a folder; DataError, before anything is written, when it cannot be completed."""
    if isinstance(recording, WfdbSegments):
        return WfdbSegmentsOutput(recording, folder)
    return WfdbOutput(recording, folder)
