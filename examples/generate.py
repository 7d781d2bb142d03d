"""Write the files of the worked examples in docs/own-data.md: python examples/generate.py FOLDER

All data are generated. As in reality, the two hospitals of an example write their files in different ways.
EDF files need edfio (pip install edfio). `write_ten_stays` wrote the files of `examples/own-hospital`.
"""

from __future__ import annotations

import csv
import sys
from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta
from pathlib import Path

import numpy as np

HOLTER_PATIENTS, WARD_PATIENTS, SLEEP_PATIENTS = 40, 60, 16
HOLTER_SECONDS, EPOCHS, EPOCH_SECONDS = 30, 24, 30
STAGES = ("Sleep stage W", "Sleep stage 2", "Sleep stage R")
STAGE_HERTZ = {"Sleep stage W": 10.0, "Sleep stage 2": 2.0, "Sleep stage R": 5.0}


def write_holter(folder: Path) -> None:
    """Write two-lead ECGs as WFDB records: the south has other names, microvolts, 500 Hz and semicolons."""
    import wfdb

    rng = np.random.default_rng(0)
    for hospital, names, unit, rate in (
        ("north", ("CC5", "CM5"), "mV", 250),
        ("south", ("ch1", "ch2"), "uV", 500),
    ):
        rows = []
        (folder / hospital / "records").mkdir(parents=True)
        for number in range(HOLTER_PATIENTS):
            rhythm = ("SR", "AF")[number % 2]
            signal = _ecg(rng, rate, irregular=rhythm == "AF") * (1 if unit == "mV" else 1000)
            record = f"{hospital[0]}{number:03}"
            wfdb.wrsamp(
                record, rate, [unit] * 2, list(names), signal, fmt=["16"] * 2,
                write_dir=str(folder / hospital / "records"),
            )  # fmt: skip
            rows.append([record, f"P{number // 2:03}", rhythm, 40 + number])
        head = (
            ("record", "patient", "label", "age")
            if hospital == "north"
            else ("EKG", "PatNr", "Rhythmus", "Alter")
        )
        _write_csv(folder / hospital / "labels.csv", head, rows, "," if hospital == "north" else ";")


def _ecg(rng: np.random.Generator, rate: int, irregular: bool) -> np.ndarray:
    """Return two leads `(time, lead)` in mV: a spike per beat, at regular or irregular intervals."""
    time = np.arange(HOLTER_SECONDS * rate) / rate
    intervals = 0.8 + (0.25 if irregular else 0.02) * rng.standard_normal(2 * HOLTER_SECONDS)
    beats = np.cumsum(np.clip(intervals, 0.4, None))
    spikes = np.exp(-(((time[:, None] - beats) / 0.03) ** 2)).sum(1)
    leads = np.stack([spikes, -0.6 * spikes], axis=1) + 0.03 * rng.standard_normal((len(time), 2))
    leads[2 * rate : 4 * rate, rng.integers(2)] = np.nan  # an electrode that was off
    return leads


def write_ward(folder: Path) -> None:
    """Write vital signs as csv, a file per stay: the south writes Fahrenheit, decimal commas and -1."""
    rng = np.random.default_rng(1)
    for hospital in ("north", "south"):
        rows = []
        for number in range(WARD_PATIENTS):
            died, stay = int(number % 5 == 0), f"{hospital[0]}{number:03}"
            admitted = datetime(2026, 1, 1) + timedelta(hours=int(rng.integers(0, 24 * 90)))
            hours = 26 + 20 * rng.random()
            measurements = list(_vital_signs(rng, admitted, hours, died, hospital == "south"))
            head = (
                ("timestamp", "HR", "SpO2", "Temp")
                if hospital == "north"
                else ("Zeit", "Puls", "SaO2", "Temp")
            )
            separator = "," if hospital == "north" else ";"
            _write_csv(folder / hospital / "stays" / f"{stay}.csv", head, measurements, separator)
            discharged = admitted + timedelta(hours=hours)
            rows.append([stay, f"P{number:03}", admitted, discharged, died, "FM"[number % 2]])
        head = ("stay", "patient", "admitted", "discharged", "died", "sex")
        _write_csv(folder / hospital / "stays.csv", head, rows)


def _vital_signs(
    rng: np.random.Generator, admitted: datetime, hours: float, died: int, is_south: bool
) -> Iterable[list[str]]:
    """Yield rows of time, heart rate, oxygen saturation and temperature, with cells that are missing."""
    for minute in range(0, int(hours * 60), 10):
        time = admitted + timedelta(minutes=minute + int(rng.integers(0, 5)))
        values = [80 + 25 * died, 97 - 5 * died, 37.0 + 1.2 * died] + rng.standard_normal(3) * [6, 1, 0.3]
        if is_south:
            values[2] = values[2] * 9 / 5 + 32
        texts = [f"{v:.1f}" if rng.random() < 0.8 else ("-1" if is_south else "") for v in values]
        if is_south:
            yield [f"{time:%d.%m.%Y %H:%M}", *(text.replace(".", ",") for text in texts)]
        else:
            yield [time.isoformat(), *texts]


def write_ten_stays(folder: Path) -> None:
    """Write ten stays of a day as csv, and their table: vital signs, of which some patients' get worse."""
    rng = np.random.default_rng(3)
    rows = []
    for number in range(10):
        got_worse, age, stay = number % 2, int(rng.integers(35, 90)), f"stay-{number:02}"
        minutes = np.arange(0, 24 * 60, 15)
        trend = got_worse * np.clip(minutes / (12 * 60) - 1, 0, 1)  # from noon on
        usual = rng.standard_normal(3) * [3, 0.3, 0.7]
        signals = {
            "heart rate": 75 + usual[0] + 4 * np.sin(minutes / 90) + 12 * trend,
            "SpO2": 94.5 + usual[1] - 3 * trend,
            "resp rate": 15 + usual[2] + 5 * trend,
        }
        cells = [minutes.astype(str)] + [_with_noise(rng, values) for values in signals.values()]
        _write_csv(folder / "stays" / f"{stay}.csv", ("minute", *signals), np.transpose(cells).tolist())
        split = "train" if number < 6 else "val" if number < 8 else "test"
        rows.append([stay, f"P{number:02}", age, ("no", "yes")[got_worse], split])
    _write_csv(folder / "stays.csv", ("stay", "patient", "age", "got worse", "split"), rows)


def _with_noise(rng: np.random.Generator, values: np.ndarray) -> list[str]:
    """Return the values as cells of a table, with noise; one in seven is missing."""
    return [f"{v + rng.standard_normal():.1f}" if rng.random() > 1 / 7 else "" for v in values]


def write_sleep(folder: Path) -> None:
    """Write nights as EDF+, with the stages as annotations in files of their own."""
    from edfio import Edf, EdfAnnotation, EdfSignal

    rng = np.random.default_rng(2)
    for part in ("nights", "stages"):
        (folder / part).mkdir(parents=True)
    for number in range(SLEEP_PATIENTS):
        stages = [STAGES[i] for i in np.sort(rng.integers(0, len(STAGES), EPOCHS))]
        time = np.arange(EPOCH_SECONDS * 100) / 100
        waves = [np.sin(2 * np.pi * STAGE_HERTZ[stage] * time + rng.random()) for stage in stages]
        eeg = 40 * np.concatenate(waves)
        signals = [
            EdfSignal(values + 8 * rng.standard_normal(len(eeg)), 100, label=label, physical_dimension="uV")
            for label, values in (("C3", eeg), ("M2", -0.2 * eeg), ("EOG horizontal", 0.5 * eeg))
        ]
        onsets = [EdfAnnotation(EPOCH_SECONDS * i, EPOCH_SECONDS, s) for i, s in enumerate(stages)]
        Edf(signals).write(folder / "nights" / f"night{number:02}.edf")
        Edf([], annotations=onsets).write(folder / "stages" / f"night{number:02}.edf")


def _write_csv(
    path: Path, head: Sequence[str], rows: Iterable[Sequence[object]], separator: str = ","
) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with open(path, "w", newline="", encoding="utf-8") as file:
        csv.writer(file, delimiter=separator).writerows([head, *rows])


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit("give the folder to write to: python examples/generate.py FOLDER")
    for write, name in ((write_holter, "holter"), (write_ward, "ward"), (write_sleep, "sleep")):
        write(Path(sys.argv[1]) / name)
