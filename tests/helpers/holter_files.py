"""WFDB recordings of two leads with a table of labels, for the description in `described`.

Lead CC5 of recording k has 0.5 k + 0.001 i mV at sample i of each window, and CM5 the negative of it.
"""

from pathlib import Path

import numpy as np

from tests.helpers.wfdb_files import write_record

RATE = 250
WINDOW_SECONDS = 10
LABELS = ("SR", "AF", "N", "")


def write_holters(
    folder: Path, recordings: int = 12, seconds: int = 35, patients: int = 6, hospitals: int = 2
) -> Path:
    """Write recordings r00, r01, ... and labels.csv; the last recording has no label."""
    rows = ["record,patient,label,age,hospital"]
    for k in range(recordings):
        lead = holter_samples(k, seconds)
        write_record(folder, f"r{k:02d}", np.stack([lead, -lead], 1), names=("CC5", "CM5"), rate=RATE)
        label = LABELS[k % 3] if k < recordings - 1 else ""
        patient = k % patients
        rows.append(f"r{k:02d},p{patient},{label},{40 + k},{patient % hospitals}")
    (folder / "labels.csv").write_text("\n".join(rows) + "\n")
    return folder


def holter_samples(recording: int, seconds: int) -> np.ndarray:
    """Return the digital samples of lead CC5, in µV."""
    return 500 * recording + np.arange(RATE * seconds) % (RATE * WINDOW_SECONDS)
