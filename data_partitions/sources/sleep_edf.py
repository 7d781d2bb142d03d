"""Sleep-EDF Expanded, cassette study: nights at home in epochs of 30 s, five sleep stages (Kemp et al., IEEE
Transactions on Biomedical Engineering 47(9):1185-1194, 2000). Each channel is a modality at its own rate.

Expects pairs `SC4ssNE0-PSG.edf` and `SC4ssNEC-Hypnogram.edf` (subject ss, night N; the first seven
characters agree) anywhere below the source folder. Telemetry nights (ST7...) are left out.
"""

import re
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from itertools import groupby, pairwise
from operator import itemgetter
from pathlib import Path

import numpy as np
import pandas as pd

from data_partitions.errors import DataError
from data_partitions.preparation_log import PreparationLog
from data_partitions.recordings.edf_header import read_header
from data_partitions.splits import hash_splits

DATASET = "sleep-edf"
EPOCH = 30  # s, and patches of 1 s in a window
SHARES = {"train": 0.6, "val": 0.2, "test": 0.2}
LICENSE = "ODC-By 1.0; cite Kemp et al., IEEE-TBME 47(9):1185-1194, 2000, doi:10.13026/C2X676"

# Modality: its channel, unit and rate (Hz, which is the number of samples in a patch).
MODALITIES = {
    "EEG Fpz-Cz": ("EEG Fpz-Cz", "uV", 100),
    "EEG Pz-Oz": ("EEG Pz-Oz", "uV", 100),
    "EOG": ("EOG horizontal", "uV", 100),
    "Resp": ("Resp oro-nasal", "a.u.", 1),
    "EMG": ("EMG submental", "uV", 1),
}
STAGES = ("W", "N1", "N2", "N3", "REM")
# What a hypnogram calls a stage (Rechtschaffen & Kales), and what it is here; "": dropped.
_STAGE_OF = {
    "Sleep stage W": "W",
    "Sleep stage 1": "N1",
    "Sleep stage 2": "N2",
    "Sleep stage 3": "N3",
    "Sleep stage 4": "N3",
    "Sleep stage R": "REM",
    "Sleep stage ?": "",
    "Movement time": "",
}
_VOLTS = {"uV": 1e-6, "mV": 1e-3}  # units that mne turns to volts; other numbers it gives as in the file
_NAME = re.compile(r"(SC4\d\d\d\w)\w*-(PSG|Hypnogram)\.edf")

SUBJECTS = tuple(n for n in range(83) if n not in (39, 68, 69, 78, 79))
LOST = {(13, 2), (36, 1), (52, 1)}  # nights that were never published


def schema(source: str | Path, *, wake_minutes: float = 30.0) -> dict:
    """Keyword arguments of `Manifest`: 30 patches of 1 s. `wake_minutes` as in `index`."""
    if not wake_minutes >= 0:
        raise DataError(f"wake_minutes must be 0 or more, it is {wake_minutes:g}")
    return {
        "dataset": DATASET,
        "version": "1.0.0, cassette nights",
        "modalities": [
            {"name": name, "unit": unit, "rate": rate, "samples_per_patch": rate, "present": True}
            for name, (_, unit, rate) in MODALITIES.items()
        ],
        "patch_seconds": 1.0,
        "patches": EPOCH,
        "labels": STAGES,
        "task": "single-label",
        "label_rule": (
            "Rechtschaffen & Kales, stages 3 and 4 as N3, without movement and unscored epochs; "
            f"wake at most {wake_minutes:g} min before the first and after the last sleep epoch"
        ),
        "license": LICENSE,
    }


def index(source: str | Path, report: PreparationLog, *, wake_minutes: float = 30.0) -> pd.DataFrame:
    """One row per epoch: record_id, patient_id, split, site, the stages, psg (file), start (s into it).

    record_id is the night and the number of the epoch in it, "SC4001-0123", patient_id the subject. Of the
    wake before the first and after the last sleep epoch, what is within `wake_minutes` is kept. A night
    that cannot be used is left out.

    Raises DataError when there is no night that can be used.
    """
    schema(source, wake_minutes=wake_minutes)  # refuses a wrong option
    source = Path(source)
    nights = _nights(source)
    telemetry = len(list(source.rglob("ST7*-PSG.edf")))
    if telemetry:
        why = "they have no airflow, and their EMG at 100 Hz"
        report.note(f"Left out as {why}: {telemetry} telemetry nights (ST7).")
    if not nights:
        only = f"only {telemetry} telemetry nights" if telemetry else "no nights"
        raise DataError(
            f"{source} has {only}: give a folder with cassette nights, files such as SC4001E0-PSG.edf and "
            "SC4001EC-Hypnogram.edf, or fetch them with --download"
        )
    rows = []
    dropped: Counter[str] = Counter()
    for done, (night, files) in enumerate(sorted(nights.items()), start=1):
        try:
            psg, epochs = _scored(night, files, wake_minutes, dropped)
            path = psg.relative_to(source).as_posix()
            for start, stage in epochs:
                rows.append((f"{night[:6]}-{int(start // EPOCH):04d}", night[3:5], stage, path, start))
        except DataError as error:
            report.reject(error)
        report.progress("reading hypnograms", done, len(nights))
    if not rows:
        raise DataError(f"no night of {source} can be used; the first: {report.bad[0]}")
    for why, count in dropped.items():
        if count:
            report.note(f"Dropped as they are {why}: {count} epochs.")
    table = pd.DataFrame(rows, columns=["record_id", "patient_id", "stage", "psg", "start"])
    # Of all subjects that are there, so that a night that is repaired moves nobody.
    splits = hash_splits(DATASET, {night[3:5] for night in nights}, SHARES)
    table["split"] = table["patient_id"].map(splits)
    table["site"] = ""
    for stage in STAGES:
        table[stage] = (table["stage"] == stage).astype(int)
    return table[["record_id", "patient_id", "split", "site", *STAGES, "psg", "start"]]


def read(source: str | Path, rows: pd.DataFrame, report: PreparationLog, **_) -> Iterator[np.ndarray | None]:
    """The epochs of rows of the index: float32 (5 modalities, 30 patches, 100 samples), NaN beyond the one
    sample per patch of Resp and EMG; uV, Resp as the file has it. None where the night cannot be read.

    A night is opened once for each run of its rows, and read from the first of them to the last.
    """
    for psg, run in groupby(zip(rows["psg"], rows["start"], strict=True), key=itemgetter(0)):
        starts = np.array([start for _, start in run])
        try:
            yield from _windows(Path(source) / psg, starts)
        except DataError as error:
            report.reject(error)
            yield from [None] * len(starts)


def download(
    out: str | Path,
    report: PreparationLog,
    *,
    subjects: Sequence[int] = SUBJECTS,
    recordings: Sequence[int] = (1, 2),
    base_url: str | None = None,
    **_,
) -> None:
    """Fetch these nights of these subjects below `out`, from PhysioNet if `base_url` is None: 7 GB for all.

    A file gets its name when its checksum is the published one, and nights that are there are not fetched
    again: a call that was interrupted is simply made again. Raises DataError when the server cannot be
    reached or gives another file.
    """
    import pooch
    from mne.datasets.sleep_physionet import age

    asked = [(subject, recording) for subject in subjects for recording in recordings]
    wanted = [night for night in asked if night not in LOST]
    for subject, recording in wanted:
        if subject not in SUBJECTS or recording not in (1, 2):
            raise DataError(
                f"Sleep-EDF has no night {recording} of subject {subject}: it has 1 and 2 of the subjects "
                "0 to 82, without 39, 68, 69, 78 and 79"
            )
    base_url = (base_url or age.BASE_URL).rstrip("/")  # mne adds one, and not every server takes two
    pooch.get_logger().setLevel("WARNING")  # else it prints a line for each file
    there = {night[:6] for night, files in _nights(Path(out)).items() if len(files) == 2}
    for done, (subject, recording) in enumerate(wanted, start=1):
        night = f"SC4{subject:02d}{recording}"
        try:
            if night not in there:
                age.fetch_data([subject], [recording], path=out, base_url=base_url, verbose="ERROR")
        except (OSError, ValueError) as error:  # network errors are OSErrors, a wrong checksum a ValueError
            raise DataError(
                f"cannot fetch night {night} from {base_url} ({_line(error)}): call it again, what is there "
                "is kept"
            ) from None
        report.progress("fetching nights", done, len(wanted))


def _line(error: Exception) -> str:
    return " ".join(str(error).split()) or type(error).__name__


def _nights(source: Path) -> dict[str, dict[str, list[Path]]]:
    """First seven characters of the files of a night -> "PSG" and "Hypnogram" -> files."""
    nights = defaultdict(lambda: defaultdict(list))
    for file in sorted(source.rglob("SC4*.edf")):
        if name := _NAME.fullmatch(file.name):
            nights[name[1]][name[2]].append(file)
    return nights


def _scored(
    night: str, files: dict[str, list[Path]], wake_minutes: float, dropped: Counter[str]
) -> tuple[Path, list[tuple[float, str]]]:
    """The PSG of a night and the epochs to keep: (start in s, stage), in order of time."""
    if [len(files[kind]) for kind in ("PSG", "Hypnogram")] != [1, 1]:
        names = ", ".join(str(file) for found in files.values() for file in found)
        raise DataError(f"night {night} must have one PSG and one Hypnogram, it has {names}")
    (psg,), (hypnogram,) = files["PSG"], files["Hypnogram"]
    begin, seconds, _ = _psg_header(psg)
    # By the time of day alone: a slip in the date is likelier than starts that lie more than 12 h apart.
    late = (read_header(hypnogram)[0] - begin + 12 * 3600) % (24 * 3600) - 12 * 3600
    epochs = sorted((start + late, stage) for start, stage in _epochs(hypnogram, seconds - late))
    epochs = [(start, stage) for start, stage in epochs if start >= 0]
    for (start, _), (following, _) in pairwise(epochs):
        if following < start + EPOCH:
            raise DataError(f"{hypnogram} scores the epoch at {following - late:g} s twice")
    kept = [(start, stage) for start, stage in epochs if stage]
    asleep = [start for start, stage in kept if stage != "W"]
    if not asleep:
        raise DataError(f"{hypnogram} scores no sleep within the {seconds:g} s of {psg.name}")
    earliest, latest = asleep[0] - 60 * wake_minutes, asleep[-1] + 60 * wake_minutes
    near = [(start, stage) for start, stage in kept if earliest <= start <= latest]
    dropped["movement or not scored"] += len(epochs) - len(kept)
    dropped[f"wake more than {wake_minutes:g} min before or after sleep"] += len(kept) - len(near)
    return psg, near


def _epochs(hypnogram: Path, end: float) -> list[tuple[float, str]]:
    """(start, stage or "") of each whole epoch in the runs of a hypnogram up to `end`; s of the hypnogram."""
    import mne  # takes half a second, so not before it is needed

    try:
        runs = mne.read_annotations(hypnogram)
    except Exception as error:
        raise DataError(f"{hypnogram} is not a readable hypnogram ({_line(error)})") from None
    if not len(runs):
        raise DataError(f"{hypnogram} has no annotations: expected sleep stages")
    epochs = []
    for onset, duration, text in zip(runs.onset, runs.duration, runs.description, strict=True):
        if text not in _STAGE_OF:
            raise DataError(f'{hypnogram} says "{text}" at {onset:g} s, expected {", ".join(_STAGE_OF)}')
        whole = int(min(duration, end - onset) // EPOCH)
        epochs += [(onset + EPOCH * i, _STAGE_OF[text]) for i in range(whole)]
    return epochs


def _psg_header(psg: Path) -> tuple[int, float, dict[str, tuple[float, str]]]:
    """Raises DataError when a channel is not there or not as this module expects it."""
    header = read_header(psg)
    for channel, unit, rate in MODALITIES.values():
        if channel not in header[2]:
            raise DataError(f"{psg} has no channel {channel}: it has {', '.join(header[2])}")
        its_rate, its_unit = header[2][channel]
        if its_rate != rate:
            raise DataError(f"{psg} has {channel} at {its_rate:g} Hz, expected {rate}")
        if unit not in (its_unit, "a.u."):
            raise DataError(f'{psg} has {channel} in "{its_unit}", expected {unit}')
    return header


def _windows(psg: Path, starts: np.ndarray) -> np.ndarray:
    """float32 (epoch, 5 modalities, 30 patches, 100 samples) of the epochs that begin at `starts` (s)."""
    import mne

    _, _, declared = _psg_header(psg)
    rates = [rate for *_, rate in MODALITIES.values()]
    windows = np.full((len(starts), len(rates), EPOCH, max(rates)), np.nan, np.float32)
    # mne brings all channels that it opens together to the fastest rate, so those of one rate at a time.
    for rate in set(rates):
        rows = [i for i, its_rate in enumerate(rates) if its_rate == rate]
        channels = [list(MODALITIES.values())[i][0] for i in rows]
        first, length = np.round(starts * rate).astype(int), EPOCH * rate
        try:
            raw = mne.io.read_raw_edf(psg, include=channels, verbose="ERROR")
            samples = raw.get_data(channels, first.min(), first.max() + length, verbose="ERROR")
        except Exception as error:
            raise DataError(f"{psg} cannot be read ({_line(error)})") from None
        if raw.info["sfreq"] != rate:
            raise DataError(f"{psg} is read at {raw.info['sfreq']:g} Hz, expected {rate}")
        samples /= np.array([[_VOLTS.get(declared[channel][1], 1.0)] for channel in channels])
        for window, i in zip(windows, first - first.min(), strict=True):
            window[rows, :, :rate] = samples[:, i : i + length].reshape(-1, EPOCH, rate)
    return windows
