"""Ask of completed ECGs what a clinician asks: beats, R peaks, QRS duration and QT, on LUDB's annotations.

    python benchmarks/fidelity.py --source PTB_XL --outside LUDB [--run RUN] [--picture FILE.svg]

A run on PTB-XL completes lead II of LUDB, an outside hospital, after parts of it were hidden, and what is
scored lies in the hidden parts. R peaks are found by wfdb's XQRS detector; a beat is found when a peak is
within 150 ms of the annotated one, as in ANSI/AAMI EC57. The beat's place (ms) is compared with the
annotation, its height over the QRS onset with the real signal (%). QRS duration and QT are those of
NeuroKit2's delineation of the completed signal, compared with its delineation of the real one, since two
delineations differ by more than completion adds; the row of the real signal compares that with the
annotations. Invented beats are found where none is annotated.

Signals are completed at 100 Hz and read at 500 Hz. Prints a table and one JSON line; --picture draws the
record with the largest error of the signal in units of its deviation. Needs '.[bench,plot]'.
"""

from __future__ import annotations

import argparse
import json
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
import torch
import wfdb
from published.ecg import (
    LUDB_RATE,
    RATE,
    Records,
    add_run_options,
    completions_of,
    read_ludb,
    trained_run,
)
from published.outcome import DataMissingError
from scipy.signal import resample_poly
from wfdb.processing import xqrs_detect

from condi_core import load_model
from condi_core.training import derive_seed
from data_partitions.sources.ptb_xl import LEADS

TOLERANCE = round(0.15 * LUDB_RATE)  # samples, of ANSI/AAMI EC57
PEAK_SEARCH = round(0.05 * LUDB_RATE)  # samples around a detection within which its peak lies
SMALLEST_HEIGHT = 0.1  # mV, of R waves whose height is compared
II = LEADS.index("II")
SETTINGS = "compare-with='' task.rounds=1 task.steps=1 imputer.samples=0"
REAL = "real signal"


class Annotation(NamedTuple):
    """Beats that an expert marked in lead II, in samples at 500 Hz: R peaks, QRS onsets and ends, T ends."""

    peaks: np.ndarray
    onsets: np.ndarray
    ends: np.ndarray
    t_ends: np.ndarray  # NaN where the beat has no T wave


def read_annotation(path: Path) -> Annotation:
    """Read the waves of lead II; each is an onset, a peak of a kind, and an end."""
    marks = wfdb.rdann(str(path), "ii")
    rows: list[tuple[float, float, float, float]] = []
    waves = list(zip(marks.symbol, marks.sample, strict=True))
    for (before, onset), (kind, peak), (after, end) in zip(waves, waves[1:], waves[2:], strict=False):
        if before != "(" or after != ")":
            continue
        if kind == "N":
            rows.append((peak, onset, end, np.nan))
        elif kind == "t" and rows and np.isnan(rows[-1][3]):
            rows[-1] = (*rows[-1][:3], end)
    return Annotation(*np.array(rows, float).reshape(-1, 4).T)


def hidden_parts(records: Records, seed: int) -> Iterator[tuple[str, np.ndarray]]:
    """Yield what is hidden (record, lead, sample), by name."""
    shape = records.values.shape
    rng = np.random.default_rng(derive_seed("fidelity", seed))
    hidden = np.zeros(shape, bool)
    for start in (1, 3, 5, 7):  # s; half of the time that is scored
        hidden[:, II, start * RATE : (start + 1) * RATE] = True
    yield "gaps of 1 s in lead II", hidden
    absent = np.zeros(shape, bool)
    absent[:, II] = True
    yield "lead II absent", absent
    limb = np.zeros(shape, bool)
    limb[:, :6] = True
    yield "limb leads absent", limb
    blackout = np.zeros(shape, bool)
    for record, start in enumerate(rng.integers(2 * RATE, 6 * RATE, shape[0])):
        blackout[record, :, start : start + 2 * RATE] = True
    yield "2 s of all leads", blackout


def find_peaks(signal: np.ndarray) -> np.ndarray:
    """Return the samples of R peaks of a signal (sample,) at 500 Hz, each at its largest deflection."""
    detections = xqrs_detect(signal, LUDB_RATE, verbose=False)
    return largest_deflections(signal, detections)


def largest_deflections(signal: np.ndarray, beats: np.ndarray) -> np.ndarray:
    """Return for each beat the sample near it that is farthest from the median of the signal."""
    deflection = np.abs(signal - np.median(signal))
    parts = [(max(int(beat) - PEAK_SEARCH, 0), int(beat) + PEAK_SEARCH + 1) for beat in beats]
    return np.array([start + deflection[start:end].argmax() for start, end in parts], int)


def delineate(signal: np.ndarray, peaks: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the QRS duration and the QT of beats at `peaks`, in ms, NaN where they were not found."""
    import neurokit2

    waves: dict[str, list[float]] = {}
    if len(peaks) >= 3:
        try:
            warnings.simplefilter("ignore")  # of SciPy, about windows of an even length
            _, waves = neurokit2.ecg_delineate(signal, peaks, LUDB_RATE, method="prominence")
        except (ValueError, IndexError, ZeroDivisionError):  # of signals that look like no ECG
            waves = {}
    samples = np.full((3, len(peaks)), np.nan)
    for row, name in zip(samples, ("ECG_R_Onsets", "ECG_R_Offsets", "ECG_T_Offsets"), strict=True):
        of_beats = np.array(waves.get(name, []), float)[: len(peaks)]
        row[: len(of_beats)] = of_beats
    onsets, ends, t_ends = samples * 1000 / LUDB_RATE
    return ends - onsets, t_ends - onsets


def score_record(
    annotation: Annotation, real: np.ndarray, completed: np.ndarray | None, hidden: np.ndarray
) -> list[dict[str, float]]:
    """Compare the beats of one record.

    Parameters
    ----------
    annotation : of its lead II
    real, hidden : (sample,) at 500 Hz
    completed : (sample,); None: the real signal, whose QRS and QT are compared with the annotation

    Returns
    -------
    A row for each annotated beat that was hidden, and one for each invented beat (`invented` is 1).
    """
    rows: list[dict[str, float]] = []
    beats = annotation.peaks.astype(int)
    if not len(beats):
        return []
    if completed is None:
        completed, ms = real, 1000 / LUDB_RATE
        reference = ms * (annotation.ends - annotation.onsets), ms * (annotation.t_ends - annotation.onsets)
    else:
        reference = delineate(real, beats)
    peaks = find_peaks(completed)
    durations = delineate(completed, peaks)
    matched, real_peaks = set(), largest_deflections(real, beats)
    for i in np.flatnonzero(hidden[beats]):
        nearest = int(np.abs(peaks - beats[i]).argmin()) if len(peaks) else -1
        if nearest < 0 or abs(peaks[nearest] - beats[i]) > TOLERANCE:
            rows.append({"missed": 1.0})
            continue
        matched.add(nearest)
        peak, onset = peaks[nearest], int(annotation.onsets[i])
        height, real_height = completed[peak] - completed[onset], real[real_peaks[i]] - real[onset]
        relative = np.nan
        if abs(real_height) >= SMALLEST_HEIGHT:
            relative = 100 * abs(height - real_height) / abs(real_height)
        rows.append(
            {
                "missed": 0.0,
                "R, ms": abs(peak - beats[i]) * 1000 / LUDB_RATE,
                "height, %": relative,
                "QRS, ms": abs(durations[0][nearest] - reference[0][i]),
                "QT, ms": abs(durations[1][nearest] - reference[1][i]),
            }
        )
    # Only between the first and the last annotated beat, since incomplete ones at the ends are not annotated.
    for j, peak in enumerate(peaks):
        is_inside = beats[0] < peak < beats[-1] and hidden[peak]
        if is_inside and j not in matched and np.abs(beats - peak).min() > TOLERANCE:
            rows.append({"invented": 1.0})
    return rows


def summarise(rows: list[dict[str, float]]) -> dict[str, float]:
    """Return medians over found beats, and the shares of missed and invented ones of the annotated beats."""
    table = pd.DataFrame(rows, columns=["missed", "invented", "R, ms", "height, %", "QRS, ms", "QT, ms"])
    beats = table["missed"].notna().sum()
    result = {"beats": float(beats)}
    for column in ("R, ms", "height, %", "QRS, ms", "QT, ms"):
        result[column] = table[column].median()
    result["QRS within 10 ms, %"] = 100 * (table["QRS, ms"].dropna() <= 10).mean()
    result["QT within 10 ms, %"] = 100 * (table["QT, ms"].dropna() <= 10).mean()
    result["missed, %"] = 100 * table["missed"].sum() / max(beats, 1)
    result["invented, %"] = 100 * table["invented"].sum() / max(beats, 1)
    return result


def to_500_hz(signal: np.ndarray) -> np.ndarray:
    """Bring a signal (..., sample) from 100 to 500 Hz."""
    return resample_poly(signal.astype(float), LUDB_RATE // RATE, 1, axis=-1)


def draw_worst(path: Path, cases: dict[str, tuple[np.ndarray, np.ndarray, np.ndarray, str]]) -> None:
    """Draw the record of each case whose completed lead II is worst: real, completed, and what was hidden."""
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(len(cases), 1, figsize=(9, 2 * len(cases)), sharex=True)
    for axis, (name, (real, completed, hidden, record)) in zip(axes, cases.items(), strict=True):
        seconds = np.arange(len(real)) / LUDB_RATE
        axis.fill_between(seconds, 0, 1, where=hidden, transform=axis.get_xaxis_transform(), color="0.9")
        axis.plot(seconds, real, color="0.4", linewidth=0.8, label="measured")
        axis.plot(seconds, np.where(hidden, completed, np.nan), color="tab:red", linewidth=0.8, label="CondI")
        axis.set_title(f"{name}: record {record}", fontsize=9, loc="left")
        axis.set_ylabel("lead II, mV", fontsize=8)
    axes[0].legend(fontsize=8, loc="upper right")
    axes[-1].set_xlabel("s", fontsize=8)
    figure.tight_layout()
    figure.savefig(path)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    add_run_options(parser, SETTINGS)
    parser.add_argument("--outside", type=Path, required=True, help="folder of LUDB")
    parser.add_argument("--picture", type=Path, help="where the worst record of each case is drawn")
    options = parser.parse_args()
    torch.set_num_threads(1)
    try:
        records = read_ludb(options.outside)
        with trained_run(options) as run:
            methods = completions_of(load_model(run))
    except DataMissingError as error:
        print(f"nothing was scored: {error}")
        return
    annotations = [read_annotation(options.outside / record) for record in records.ids]
    real, table, worst = to_500_hz(records.values[:, II]), {}, {}
    for case, hidden in hidden_parts(records, options.seed):
        scored = np.repeat(hidden[:, II], LUDB_RATE // RATE, axis=-1)
        signals = {REAL: real}
        for name, complete in methods.items():
            signals[name] = to_500_hz(complete(np.where(hidden, 0, records.values), ~hidden)[:, II])
        for name, completed in signals.items():
            rows = [
                row
                for i, annotation in enumerate(annotations)
                for row in score_record(
                    annotation, real[i], None if name == REAL else completed[i], scored[i]
                )
            ]
            table[f"{case}: {name}"] = summarise(rows)
        errors = np.square(signals["CondI"] - real).mean(-1) / real.var(-1)
        i = int(errors.argmax())
        worst[case] = (real[i], signals["CondI"][i], scored[i], records.ids[i])
    print(pd.DataFrame(table).T.round(1).to_string())
    print(
        json.dumps({name: {k: round(v, 2) for k, v in row.items() if v == v} for name, row in table.items()})
    )
    if options.picture:
        draw_worst(options.picture, worst)


if __name__ == "__main__":
    main()
