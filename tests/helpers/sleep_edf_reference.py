"""Sleep-EDF read with mne, channel by channel: what the description must give, cell for cell."""

from pathlib import Path

import mne
import numpy as np

CHANNELS = {  # rate (Hz), values per unit of mne
    "EEG Fpz-Cz": (100, 1e6),
    "EEG Pz-Oz": (100, 1e6),
    "EOG horizontal": (100, 1e6),
    "Resp oro-nasal": (1, 1),
    "EMG submental": (1, 1e6),
}
STAGES = {
    "Sleep stage W": "W",
    "Sleep stage 1": "N1",
    "Sleep stage 2": "N2",
    "Sleep stage 3": "N3",
    "Sleep stage 4": "N3",
    "Sleep stage R": "REM",
}
EPOCH = 30  # s


def reference_night(psg: Path, hypnogram: Path, wake_minutes: float = 30.0):
    """Return starts (s), stages and float32 (epoch, channel, second, sample) of a night, NaN as padding.

    The hypnogram must start with the signals.
    """
    signals = {}
    for name in CHANNELS:
        # One channel at a time, because mne upsamples all to the rate of the fastest.
        raw = mne.io.read_raw_edf(psg, include=[name], verbose="ERROR")
        signals[name] = raw.get_data()[0]
    seconds = len(signals["EMG submental"])
    epochs = []
    scored = mne.read_annotations(hypnogram)
    for onset, duration, text in zip(scored.onset, scored.duration, scored.description, strict=True):
        count = int((min(onset + duration, seconds) - onset) // EPOCH)
        epochs += [(onset + EPOCH * i, STAGES[text]) for i in range(count) if text in STAGES]
    asleep = [start for start, stage in epochs if stage != "W"]
    earliest, latest = asleep[0] - 60 * wake_minutes, asleep[-1] + 60 * wake_minutes
    epochs = [(start, stage) for start, stage in epochs if earliest <= start <= latest]
    windows = np.full((len(epochs), len(CHANNELS), EPOCH, 100), np.nan, np.float32)
    for window, (start, _) in zip(windows, epochs, strict=True):
        for values, (name, (rate, scale)) in zip(window, CHANNELS.items(), strict=True):
            samples = signals[name][round(start * rate) :][: EPOCH * rate] / (1 / scale)
            values[:, :rate] = samples.reshape(EPOCH, rate)
    starts, stages = zip(*epochs, strict=True)
    return np.array(starts), list(stages), windows
