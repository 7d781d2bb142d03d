"""WFDB records (WFDB Applications Guide, header(5) and signal(5)), read and written by the wfdb package."""

import shutil
from pathlib import Path

import numpy as np

from data_partitions.errors import DataError
from data_partitions.recordings.whole_recording import Recording, Signal

SUFFIX = ".hea"
# Bits of a sample, by format that can be written. The lowest number means that nothing was observed.
BITS_PER_SAMPLE = {"80": 8, "212": 12, "16": 16, "24": 24, "32": 32}


def read(file: Path) -> Recording:
    """Read all signals of a record, given its header file; DataError when the record cannot be read."""
    import wfdb

    try:
        header = wfdb.rdheader(str(file.with_suffix("")))
        if not isinstance(header, wfdb.Record):
            raise DataError(f"{file} is a record of several segments: give the segments one by one")
        if not header.n_sig:
            raise DataError(f"{file} describes no signal")
        record = wfdb.rdrecord(
            str(file.with_suffix("")), physical=False, smooth_frames=False, ignore_skew=True
        )
        physical = record.dac(expanded=True)
    except DataError:
        raise
    except Exception as error:  # wfdb raises errors of many kinds
        first = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise DataError(f"{file} is not a readable WFDB record ({first})") from None
    signals = [
        Signal(name, unit, record.fs * frames, np.asarray(samples, np.float64))
        for name, unit, frames, samples in zip(
            record.sig_name, record.units, record.samps_per_frame, physical, strict=True
        )
    ]
    return Recording(file, tuple(signals), record)


def files(recording: Recording) -> list[Path]:
    """Return the files of samples, and the header."""
    names = sorted(set(recording.source.file_name))
    return [*(recording.file.with_name(name) for name in names), recording.file]


def write(recording: Recording, signals: list[np.ndarray], folder: Path) -> None:
    """Write the record with missing samples filled; a plain copy of its files if no sample is missing.

    Raises
    ------
    DataError
        Samples to fill are in a format that cannot be written.
    """
    record, file = recording.source, recording.file
    if not any(np.isnan(signal.samples).any() for signal in recording.signals):
        for source in files(recording):
            shutil.copyfile(source, folder / source.name)
        return
    for i, (signal, samples) in enumerate(zip(recording.signals, signals, strict=True)):
        filled = np.isnan(signal.samples) & ~np.isnan(samples)
        if not filled.any():
            continue
        if record.fmt[i] not in BITS_PER_SAMPLE:
            raise DataError(f"{file}: {signal.name} is in format {record.fmt[i]}, which cannot be written")
        highest = 2 ** (BITS_PER_SAMPLE[record.fmt[i]] - 1) - 1
        digital = np.round(samples * record.adc_gain[i] + record.baseline[i])
        digital = np.clip(np.nan_to_num(digital), -highest, highest).astype(record.e_d_signal[i].dtype)
        record.e_d_signal[i] = np.where(filled, digital, record.e_d_signal[i])
    record.checksum = record.calc_checksum(expanded=True)
    record.init_value = [int(samples[0]) for samples in record.e_d_signal]
    try:
        record.wrheader(write_dir=str(folder), expanded=True)
        record.wr_dats(expanded=True, write_dir=str(folder))
    except Exception as error:  # wfdb reads more formats than it writes
        first = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise DataError(f"{file} cannot be written again as a WFDB record ({first})") from None
    for source, offset in zip(record.file_name, record.byte_offset or (), strict=False):
        if offset:  # bytes before the samples, such as the head of a MATLAB file
            with open(file.with_name(source), "rb") as old, open(folder / source, "r+b") as new:
                new.write(old.read(offset))
