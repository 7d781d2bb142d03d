"""Nights of Sleep-EDF in tests: what is read of them, and changes to their files."""

import edfio
import numpy as np

from data_partitions.preparation_log import PreparationLog
from data_partitions.sources.sleep_edf import STAGES, read

SLEEP = "WW1W234R2M?R1W2W"  # 480 s: whole records of 20, 30 and 60 s


def windows_of(source, table, log=None):
    return np.stack(list(read(source, table, log or PreparationLog())))


def stages_of(table):
    return [STAGES[i] for i in table[list(STAGES)].to_numpy().argmax(1)]


def numbers_of(table):
    return [int(record[-4:]) for record in table["record_id"]]


def change_psg(file, change):
    """Write a PSG anew with the signals that `change` makes of its signals."""
    edf = edfio.read_edf(file)
    signals = [change(signal) for signal in edf.signals]
    kept = [signal for signal in signals if signal is not None]
    edfio.Edf(kept, data_record_duration=30, recording=edf.recording, starttime=edf.starttime).write(file)


def copy_signal(signal, **changes):
    as_it_is = {
        "data": signal.data,
        "sampling_frequency": signal.sampling_frequency,
        "label": signal.label,
        "physical_dimension": signal.physical_dimension,
    }
    return edfio.EdfSignal(**{**as_it_is, **changes})


def change_bytes(file, start, new):
    content = bytearray(file.read_bytes())
    content[start : start + len(new)] = new
    file.write_bytes(content)
