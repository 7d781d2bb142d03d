"""Generated nights in the format of Sleep-EDF's cassette study, with signals that follow the sleep stage.

`write_nights` draws subjects who sleep in cycles; `write_coded_night` writes a night in which each sample
encodes its stage, to test alignment. Both write `SC4ssNE0-PSG.edf` and
`SC4ssNEC-Hypnogram.edf` with the channels, rates and units of the data set.
"""

from datetime import datetime, timedelta
from itertools import groupby
from operator import itemgetter
from pathlib import Path

import numpy as np
from edfio import Edf, EdfAnnotation, EdfSignal, Recording
from scipy.signal import butter, sosfilt
from scipy.signal.windows import hann

EPOCH = 30  # s
TEXTS = {**{name: f"Sleep stage {name}" for name in "W1234R?"}, "M": "Movement time"}
CHANNELS = {  # rate in Hz, unit
    "EEG Fpz-Cz": (100, "uV"),
    "EEG Pz-Oz": (100, "uV"),
    "EOG horizontal": (100, "uV"),
    "Resp oro-nasal": (1, ""),
    "EMG submental": (1, "uV"),
    "Temp rectal": (1, "DegC"),
    "Event marker": (1, ""),
}
EVENING = datetime(1989, 4, 24, 16, 13)

# Standard deviations of the rhythms (uV), chin tone (uV) and irregularity of respiration, by stage.
BANDS = {"delta": (0.5, 2), "theta": (4, 7), "alpha": (8, 12), "beta": (15, 30), "roll": (0.2, 0.5)}
_BY_STAGE = {
    #          W     1     2     3     4     R     ?     M
    "delta": (4.0, 7.0, 15.0, 38.0, 55.0, 7.0, 4.0, 30.0),
    "theta": (4.0, 12.0, 10.0, 6.0, 5.0, 8.0, 4.0, 6.0),
    "alpha": (22.0, 6.0, 3.0, 2.0, 2.0, 4.0, 10.0, 10.0),
    "beta": (6.0, 4.0, 3.0, 2.0, 2.0, 4.0, 6.0, 15.0),
    "roll": (8.0, 60.0, 4.0, 2.0, 2.0, 10.0, 8.0, 40.0),
    "chin": (3.2, 1.7, 1.2, 0.9, 0.8, 0.35, 2.0, 4.5),
    "breath": (0.30, 0.20, 0.10, 0.04, 0.03, 0.25, 0.30, 0.50),
}
# The share of each rhythm that a channel records.
_RHYTHM_SHARES = {
    "EEG Fpz-Cz": {"delta": 1.0, "theta": 1.0, "alpha": 0.4, "beta": 1.0, "roll": 0.1},
    "EEG Pz-Oz": {"delta": 0.6, "theta": 0.7, "alpha": 1.0, "beta": 0.8, "roll": 0.0},
    "EOG horizontal": {"delta": 0.35, "theta": 0.2, "alpha": 0.1, "beta": 0.6, "roll": 1.0},
}


def write_nights(
    path: str | Path,
    subjects: int = 4,
    nights: int = 2,
    epochs: int = 120,
    seed: int = 0,
    record_seconds: int = EPOCH,
) -> None:
    """Write `nights` (1 or 2) of each of `subjects` (up to 100), `epochs` of 30 s each, below `path`.

    The first and the last twelfth of a night are wake; its last epoch is not scored. Its length must be a
    multiple of that of a data record.
    """
    for subject in range(subjects):
        for night in range(1, nights + 1):
            rng = np.random.default_rng([seed, subject, night])
            stages = draw_stages(rng, epochs)
            signals = draw_signals(rng, np.random.default_rng([seed, subject]), stages)
            write_night(path, f"SC4{subject:02d}{night}", stages, signals, record_seconds=record_seconds)


def write_coded_night(
    path: str | Path, night: str, stages: str, *, late: int = 0, seconds: int | None = None, **options
) -> None:
    """Write a night in which the samples of stage number n (of `TEXTS`, from 0) are 10 * (n + 1).

    The hypnogram begins `late` seconds after the signals (negative: before); the signals are as long as the
    stages unless `seconds` says otherwise, and -10 where nothing is scored. `options` go to `write_night`.
    """
    seconds = EPOCH * len(stages) if seconds is None else seconds
    epoch = (np.arange(seconds) - late) // EPOCH
    value = np.full(seconds, -10.0)
    scored = (epoch >= 0) & (epoch < len(stages))
    value[scored] = 10.0 * (1 + _codes(stages)[epoch[scored]])
    signals = {name: np.repeat(value, rate) for name, (rate, _) in CHANNELS.items()}
    write_night(path, night, stages, signals, **{"start": EVENING + timedelta(seconds=late), **options})


def write_night(
    path: str | Path, night: str, stages: str, signals: dict, *, record_seconds: int = EPOCH, start=EVENING
) -> None:
    """Write PSG (channel -> samples) and hypnogram (one key of `TEXTS` per epoch) of `night` ("SC4001").

    The signals begin at `EVENING`, the hypnogram says that it begins at `start`.
    """
    path = Path(path)
    path.mkdir(parents=True, exist_ok=True)
    channels = [
        EdfSignal(samples, CHANNELS[name][0], label=name, physical_dimension=CHANNELS[name][1])
        for name, samples in signals.items()
    ]
    psg = Edf(channels, data_record_duration=record_seconds, **_start(EVENING))
    psg.write(path / f"{night}E0-PSG.edf")
    write_hypnogram(path / f"{night}EC-Hypnogram.edf", _runs(stages), start)


def write_hypnogram(file: str | Path, runs: list[tuple[float, float, str]], start=EVENING) -> None:
    """Write an EDF+ file with annotations only: (onset in s, duration in s, text)."""
    Edf([], annotations=[EdfAnnotation(*run) for run in runs], **_start(start)).write(Path(file))


def draw_stages(rng: np.random.Generator, epochs: int) -> str:
    """Draw one key of `TEXTS` per epoch: cycles of about 100 minutes, at least two, N3 early and REM late."""
    wake = epochs // 12
    asleep = epochs - 2 * wake - 1
    cycles = max(2, round(asleep / 200))
    parts: list[tuple[str, float]] = []
    for c in np.linspace(0, 1, cycles):
        deep = 0.32 * (1 - 0.7 * c)
        parts += [("1", 0.08), ("2", 0.22), ("3", deep / 2), ("4", deep / 2), ("M", 0.01), ("2", 0.2)]
        parts += [("R", 0.12 + 0.2 * c), ("W", 0.02)]
    names, weights = zip(*parts, strict=True)
    ends = np.cumsum(np.array(weights) * rng.uniform(0.7, 1.3, len(parts)))
    bounds = np.round(ends / ends[-1] * asleep).astype(int)
    lengths = np.diff(bounds, prepend=0)
    asleep_stages = "".join(name * n for name, n in zip(names, lengths, strict=True))
    return "W" * wake + asleep_stages + "W" * wake + "?"


def draw_signals(rng: np.random.Generator, person: np.random.Generator, stages: str) -> dict[str, np.ndarray]:
    """Draw the samples of each channel at its rate. `person` draws what both nights of a subject share."""
    codes = _codes(stages)
    seconds = EPOCH * len(stages)

    def by_stage(quantity: str, rate: int = 1) -> np.ndarray:
        return np.repeat(np.array(_BY_STAGE[quantity])[codes], EPOCH * rate)

    voltage, chin, breaths = person.normal(0, 0.15, 3)
    eyes_and_brain = {name: rng.normal(0, 1.5, 100 * seconds) for name in _RHYTHM_SHARES}
    for rhythm, band in BANDS.items():
        amplitude = by_stage(rhythm, 100) * np.exp(voltage)
        shared, occipital, ocular = (_draw_rhythm(rng, band, 100 * seconds) * amplitude for _ in range(3))
        # Pz-Oz and EOG do not share a quarter of their power.
        rhythms = (shared, 0.87 * shared + 0.5 * occipital, 0.87 * shared + 0.5 * ocular)
        for (name, share), rhythmic in zip(_RHYTHM_SHARES.items(), rhythms, strict=True):
            eyes_and_brain[name] += share[rhythm] * rhythmic
    _add_events(rng, eyes_and_brain, codes)

    depth = by_stage("breath")
    turns = np.cumsum(0.25 * np.exp(0.3 * breaths) + 0.1 * depth * rng.normal(0, 1, seconds))
    drift = 400 * np.sin(np.arange(seconds) / rng.uniform(60, 90))
    effort = 400 * np.exp(depth * rng.normal(0, 1, seconds))
    tone = by_stage("chin") * np.exp(chin + rng.normal(0, 0.2, seconds))
    return {
        **eyes_and_brain,
        "Resp oro-nasal": effort * np.sin(2 * np.pi * turns) + drift,
        "EMG submental": tone,
        "Temp rectal": 37 - 0.5 * np.sin(np.linspace(0, np.pi, seconds)) + rng.normal(0, 0.01, seconds),
        "Event marker": np.zeros(seconds),
    }


def _add_events(rng: np.random.Generator, channels: dict[str, np.ndarray], codes: np.ndarray) -> None:
    """Add spindles and K complexes in N2, blinks in W and rapid eye movements in REM, in place."""
    t = np.arange(100) / 100
    spindle = 30 * hann(100) * np.sin(2 * np.pi * 13 * t)
    k_complex = -130 * np.sin(2 * np.pi * t) * np.exp(-2 * t)
    blink = 140 * hann(30)
    saccade = 110 * np.exp(-t[:40] / 0.4)
    events = (  # stage, mean number per epoch, shape, size in Fpz-Cz, Pz-Oz and EOG
        (2, 3.0, spindle, (1.0, 0.8, 0.05)),
        (2, 1.0, k_complex, (1.0, 0.5, 0.3)),
        (0, 4.0, blink, (0.4, 0.0, 1.0)),
        (5, 7.0, saccade, (0.1, 0.0, 1.0)),
    )
    for stage, mean, shape, sizes in events:
        for epoch in np.flatnonzero(codes == stage):
            for second in rng.uniform(0, EPOCH - 1.01, rng.poisson(mean)):
                first = 100 * EPOCH * int(epoch) + int(100 * second)
                height = rng.choice([-1, 1]) if stage == 5 else 1
                for samples, size in zip(channels.values(), sizes, strict=True):
                    samples[first : first + len(shape)] += height * size * shape


def _draw_rhythm(rng: np.random.Generator, band: tuple[float, float], length: int) -> np.ndarray:
    noise = sosfilt(butter(2, band, "bandpass", fs=100, output="sos"), rng.normal(0, 1, length))
    return noise / noise.std()


def _codes(stages: str) -> np.ndarray:
    return np.array([list(TEXTS).index(stage) for stage in stages])


def _runs(stages: str) -> list[tuple[float, float, str]]:
    runs = [list(run) for _, run in groupby(enumerate(stages), key=itemgetter(1))]
    return [(EPOCH * run[0][0], EPOCH * len(run), TEXTS[run[0][1]]) for run in runs]


def _start(when: datetime) -> dict:
    return {"recording": Recording(startdate=when.date()), "starttime": when.time()}
