"""The time from which the windows of native files are counted, by the table of the site's description."""

from __future__ import annotations

from pathlib import Path

from data_partitions.description.sections import Description
from data_partitions.recordings.recording import Recording
from data_partitions.sources.described.files import match_files
from data_partitions.sources.described.listing import ListedRecording, list_recordings
from data_partitions.sources.described.recording_times import find_time


class FileOrigins:
    """Finds where the windows of the recordings of a site start, in s from the start of each recording.

    Parameters
    ----------
    description : Description
        Of the site.
    data : Path
        A file or a folder.

    Raises
    ------
    DataError
        The table does not fit the files.
    """

    def __init__(self, description: Description, data: Path) -> None:
        self._description = description
        self._absence = ""
        self._listed: dict[tuple[Path, str], ListedRecording] = {}
        if not description.window.start:
            return
        if data.is_dir() and match_files(data, description.table.path):
            listing = list_recordings(description, data)
            self._listed = {(listed.file, listed.part): listed for listed in listing.recordings}
        else:
            self._absence = describe_absent_table(description, data)

    def find(self, recording: Recording, part: str) -> tuple[float, list[str]]:
        """Return the origin of a recording, and a note where the table does not have it.

        DataError when its row has no time, or the recording does not state when it starts.
        """
        if not self._description.window.start:
            return 0.0, []
        if listed := self._listed.get((recording.file, part)):
            return find_time(self._description, "window.start", listed, recording), []
        absence = self._absence or (
            f"{self._description.table.path} has no row of it: its windows are counted from its first sample"
        )
        return 0.0, [absence]


def describe_absent_table(description: Description, data: Path) -> str:
    """Say that the table of a description is not beside the files, and what follows."""
    return (
        f"{description.table.path}, the table of the description, is not in {data}: windows are counted from "
        "the first row or sample, and nothing else of the table is known"
    )
