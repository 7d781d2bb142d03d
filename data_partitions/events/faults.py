"""What happens with a file that cannot be read."""

from data_partitions.errors import DataError
from data_partitions.events.files import EventFile
from data_partitions.preparation_log import PreparationLog


class FileFaults:
    """Rejects the recording of a file that cannot be read; raises the fault if the file has several."""

    def __init__(self, log: PreparationLog):
        self._log = log
        self.recordings: set[str] = set()

    def __call__(self, file: EventFile, fault: DataError) -> None:
        if not file.record:
            raise fault
        if file.record not in self.recordings:
            self.recordings.add(file.record)
            self._log.reject(fault)
