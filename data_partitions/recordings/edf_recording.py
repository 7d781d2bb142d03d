"""EDF, EDF+, BDF and BDF+ files."""

from pathlib import Path
from typing import Any, Literal

from data_partitions.recordings.edf_header import read_edf_header
from data_partitions.recordings.edf_output import EdfOutput
from data_partitions.recordings.edf_signals import EdfRecording
from data_partitions.recordings.recording import Output, Recording

SUFFIXES = (".edf", ".bdf")


def open(  # noqa: A001
    file: Path, *, ends_of_range: Literal["measured", "missing"] = "measured", **_: Any
) -> Recording:
    """Open a file; DataError when it cannot be read.

    `ends_of_range` says whether samples at the ends of a channel's digital range are "measured" or "missing".
    Amplifiers leave channels there that are off or saturated.
    """
    return EdfRecording(file, read_edf_header(file), ends_of_range == "missing")


def create_output(recording: EdfRecording, folder: Path) -> Output:
    """Copy a file to a folder."""
    return EdfOutput(recording, folder)
