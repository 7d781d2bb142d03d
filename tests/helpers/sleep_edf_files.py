"""Nights of Sleep-EDF in tests: their windows and stages, and changes to their files."""

import edfio
import numpy as np

from data_partitions.preparation_log import PreparationLog
from data_partitions.sources.sleep_edf import read
from tests.helpers.generated_sleep_edf import write_coded_night

STAGES = ("W", "N1", "N2", "N3", "REM")
SLEEP = "WW1W234R2M?R1W2W"  # 480 s, a multiple of data records of 20, 30 and 60 s


def read_windows(source, table, log=None):
    """Read the windows of the rows of an index."""
    return np.stack(list(read(source, table, log or PreparationLog())))


def list_stages(table):
    """Return the stage of each row of an index."""
    return [STAGES[i] for i in table[list(STAGES)].to_numpy().argmax(1)]


def list_epoch_numbers(table):
    """Return the number of each epoch of an index in its night."""
    return [int(record[-4:]) for record in table["record_id"]]


def write_distinct_night(folder, night, stages, **options):
    """Write a coded night whose files name the night, so that it is no duplicate of another one."""
    write_coded_night(folder, night, stages, **options)
    change_bytes(folder / f"{night}E0-PSG.edf", 8, f"{night} X X X".encode())


def change_psg(file, change):
    """Rewrite a PSG with `change` of each signal, without signals for which that is None."""
    edf = edfio.read_edf(file)
    signals = [change(signal) for signal in edf.signals]
    retained = [signal for signal in signals if signal is not None]
    edfio.Edf(retained, data_record_duration=30, recording=edf.recording, starttime=edf.starttime).write(file)


def copy_signal(signal, **changes):
    """Copy a signal with changes of its fields."""
    fields = {
        "data": signal.data,
        "sampling_frequency": signal.sampling_frequency,
        "label": signal.label,
        "physical_dimension": signal.physical_dimension,
    }
    return edfio.EdfSignal(**{**fields, **changes})


def change_bytes(file, start, new):
    """Overwrite bytes of a file from a position on."""
    content = bytearray(file.read_bytes())
    content[start : start + len(new)] = new
    file.write_bytes(content)
