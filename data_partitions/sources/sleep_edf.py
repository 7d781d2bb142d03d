"""Sleep-EDF Expanded, cassette study (Kemp et al., IEEE-TBME 47(9):1185-1194, 2000).

The windows are epochs of 30 s of nights at home, the labels are five sleep stages. Each channel is a modality
at its own rate.

The source has pairs `SC4ssNE0-PSG.edf` and `SC4ssNEC-Hypnogram.edf` (subject ss, night N; the first seven
characters agree) anywhere below its folder. Telemetry nights (ST7...) are excluded.
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
from data_partitions.manifest import Split
from data_partitions.preparation_log import PreparationLog
from data_partitions.recordings.edf_header import EdfHeader, read_complete_edf_header
from data_partitions.splits import hash_splits

DATASET = "sleep-edf"
EPOCH_SECONDS = 30  # also the number of patches, of 1 s each, in a window
SLEEP_EDF_SPLIT_SHARES: dict[Split, float] = {"train": 0.6, "val": 0.2, "test": 0.2}
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
# The stage of each text in a hypnogram (Rechtschaffen & Kales); "" for epochs that are dropped.
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
_VOLTS = {"uV": 1e-6, "mV": 1e-3}  # units that mne converts to volts; it does not convert others
_NAME = re.compile(r"(SC4\d\d\d\w)\w*-(PSG|Hypnogram)\.edf")

PUBLISHED_SUBJECTS = tuple(n for n in range(83) if n not in (39, 68, 69, 78, 79))
UNPUBLISHED_NIGHTS = {(13, 2), (36, 1), (52, 1)}  # (subject, night)


def schema(source: str | Path, *, wake_minutes: float = 30.0) -> dict:
    """Describe the data set: 30 patches of 1 s. `wake_minutes` as in `index`."""
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
        "patches": EPOCH_SECONDS,
        "labels": STAGES,
        "task": "single-label",
        "label_rule": (
            "Rechtschaffen & Kales, stages 3 and 4 as N3, without movement and unscored epochs; "
            f"wake at most {wake_minutes:g} min before the first and after the last sleep epoch"
        ),
        "license": LICENSE,
    }


def index(source: str | Path, log: PreparationLog, *, wake_minutes: float = 30.0) -> pd.DataFrame:
    """List the epochs: record_id, patient_id, split, site, the stages, psg (file), start (s into it).

    record_id is the night and the number of the epoch in it, "SC4001-0123"; patient_id is the subject. Wake
    epochs more than `wake_minutes` before the first or after the last sleep epoch are dropped. A night that
    cannot be used is rejected.

    Raises DataError when no night can be used.
    """
    schema(source, wake_minutes=wake_minutes)  # refuses a wrong option
    source = Path(source)
    nights = _find_nights(source)
    telemetry = len(list(source.rglob("ST7*-PSG.edf")))
    if telemetry:
        reason = "they have no airflow, and their EMG is at 100 Hz"
        log.note(f"Excluded because {reason}: {telemetry} telemetry nights (ST7).")
    if not nights:
        content = f"only {telemetry} telemetry nights" if telemetry else "no nights"
        raise DataError(
            f"{source} has {content}: give a folder with cassette nights, files such as SC4001E0-PSG.edf and "
            "SC4001EC-Hypnogram.edf, or fetch them with --download"
        )
    rows = []
    dropped: Counter[str] = Counter()
    for done, (night, files) in enumerate(sorted(nights.items()), start=1):
        try:
            psg, epochs = _scored_epochs(night, files, wake_minutes, dropped)
            path = psg.relative_to(source).as_posix()
            for start, stage in epochs:
                record = f"{night[:6]}-{int(start // EPOCH_SECONDS):04d}"
                rows.append((record, night[3:5], stage, path, start))
        except DataError as error:
            log.reject(error)
        log.progress("reading hypnograms", done, len(nights))
    if not rows:
        raise DataError(f"no night of {source} can be used; the first rejected one: {log.rejected[0]}")
    for reason, count in dropped.items():
        if count:
            log.note(f"Dropped because they are {reason}: {count} epochs.")
    table = pd.DataFrame(rows, columns=["record_id", "patient_id", "stage", "psg", "start"])
    # All subjects in the source are split, so that the repair of a night moves no subject to another split.
    splits = hash_splits(DATASET, {night[3:5] for night in nights}, SLEEP_EDF_SPLIT_SHARES)
    table["split"] = table["patient_id"].map(splits)
    table["site"] = ""
    for stage in STAGES:
        table[stage] = (table["stage"] == stage).astype(int)
    return table[["record_id", "patient_id", "split", "site", *STAGES, "psg", "start"]]


def read(source: str | Path, rows: pd.DataFrame, log: PreparationLog, **_) -> Iterator[np.ndarray | None]:
    """Read the epochs of rows of the index: float32 (5 modalities, 30 patches, 100 samples).

    Values are in uV, those of Resp as the file has them; Resp and EMG have one sample per patch, and NaN
    beyond it. Yields None where the night cannot be read. A night is opened once for each run of consecutive
    rows, and read from the first to the last of them.
    """
    for psg, run in groupby(zip(rows["psg"], rows["start"], strict=True), key=itemgetter(0)):
        starts = np.array([start for _, start in run])
        try:
            yield from _read_windows(Path(source) / psg, starts)
        except DataError as error:
            log.reject(error)
            yield from [None] * len(starts)


def download(
    out: str | Path,
    log: PreparationLog,
    *,
    subjects: Sequence[int] = PUBLISHED_SUBJECTS,
    recordings: Sequence[int] = (1, 2),
    base_url: str | None = None,
    **_,
) -> None:
    """Fetch nights of subjects: 7 GB for all.

    A file gets its name when its checksum is the published one, and complete nights are not fetched again, so
    an interrupted call can simply be repeated.

    Parameters
    ----------
    out
        Folder for the files.
    log
        Log that receives the progress.
    subjects, recordings
        Numbers of the subjects, and of their nights (1 or 2).
    base_url
        URL of the folder on the server; None for PhysioNet.

    Raises
    ------
    DataError
        The server cannot be reached or sends a different file.
    """
    import pooch
    from mne.datasets.sleep_physionet import age

    requested = [(subject, recording) for subject in subjects for recording in recordings]
    published = [night for night in requested if night not in UNPUBLISHED_NIGHTS]
    for subject, recording in published:
        if subject not in PUBLISHED_SUBJECTS or recording not in (1, 2):
            raise DataError(
                f"Sleep-EDF has no night {recording} of subject {subject}: it has 1 and 2 of the subjects "
                "0 to 82, without 39, 68, 69, 78 and 79"
            )
    base_url = (base_url or age.BASE_URL).rstrip("/")  # mne adds a slash, and not every server accepts two
    pooch.get_logger().setLevel("WARNING")  # otherwise it prints a line for each file
    complete = {night[:6] for night, files in _find_nights(Path(out)).items() if len(files) == 2}
    for done, (subject, recording) in enumerate(published, start=1):
        night = f"SC4{subject:02d}{recording}"
        try:
            if night not in complete:
                age.fetch_data([subject], [recording], path=out, base_url=base_url, verbose="ERROR")
        except (OSError, ValueError) as error:  # network errors are OSErrors, a wrong checksum a ValueError
            raise DataError(
                f"cannot fetch night {night} from {base_url} ({_one_line(error)}): try again, complete "
                "files are kept"
            ) from None
        log.progress("fetching nights", done, len(published))


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split()) or type(error).__name__


def _find_nights(source: Path) -> dict[str, dict[str, list[Path]]]:
    """Return the files ("PSG" and "Hypnogram") of each night, which is their first seven characters."""
    nights: dict[str, dict[str, list[Path]]] = defaultdict(lambda: defaultdict(list))
    for file in sorted(source.rglob("SC4*.edf")):
        if name := _NAME.fullmatch(file.name):
            nights[name[1]][name[2]].append(file)
    return nights


def _scored_epochs(
    night: str, files: dict[str, list[Path]], wake_minutes: float, dropped: Counter[str]
) -> tuple[Path, list[tuple[float, str]]]:
    """Return the PSG of a night and the epochs to use: (start in s, stage), in order of time."""
    if [len(files[kind]) for kind in ("PSG", "Hypnogram")] != [1, 1]:
        names = ", ".join(str(file) for of_kind in files.values() for file in of_kind)
        raise DataError(f"night {night} must have one PSG and one Hypnogram, it has {names}")
    (psg,), (hypnogram,) = files["PSG"], files["Hypnogram"]
    header = _read_psg_header(psg)
    # Only the time of day counts, as an error in the date is more likely than starts more than 12 h apart.
    starts = _time_of_day(hypnogram, read_complete_edf_header(hypnogram)), _time_of_day(psg, header)
    late = (starts[0] - starts[1] + 12 * 3600) % (24 * 3600) - 12 * 3600
    end = header.seconds - late
    epochs = sorted((start + late, stage) for start, stage in _read_epochs(hypnogram, end))
    epochs = [(start, stage) for start, stage in epochs if start >= 0]
    for (start, _), (following, _) in pairwise(epochs):
        if following < start + EPOCH_SECONDS:
            raise DataError(f"{hypnogram} scores the epoch at {following - late:g} s twice")
    scored = [(start, stage) for start, stage in epochs if stage]
    asleep = [start for start, stage in scored if stage != "W"]
    if not asleep:
        raise DataError(f"{hypnogram} scores no sleep within the {header.seconds:g} s of {psg.name}")
    earliest, latest = asleep[0] - 60 * wake_minutes, asleep[-1] + 60 * wake_minutes
    near = [(start, stage) for start, stage in scored if earliest <= start <= latest]
    dropped["movement or not scored"] += len(epochs) - len(scored)
    dropped[f"wake more than {wake_minutes:g} min before or after sleep"] += len(scored) - len(near)
    return psg, near


def _time_of_day(file: Path, header: EdfHeader) -> int:
    if header.time_of_day is None:
        raise DataError(f"{file} does not state the time at which it starts: fetch it again")
    return header.time_of_day


def _read_epochs(hypnogram: Path, end: float) -> list[tuple[float, str]]:
    """Return (start, stage or "") of each complete epoch up to `end`; in s from the hypnogram's start."""
    import mne  # takes half a second, so it is imported when it is needed

    try:
        runs = mne.read_annotations(hypnogram)
    except Exception as error:
        raise DataError(f"{hypnogram} is not a readable hypnogram ({_one_line(error)})") from None
    if not len(runs):
        raise DataError(f"{hypnogram} has no annotations: expected sleep stages")
    epochs = []
    for onset, duration, text in zip(runs.onset, runs.duration, runs.description, strict=True):
        if text not in _STAGE_OF:
            raise DataError(f'{hypnogram} says "{text}" at {onset:g} s, expected {", ".join(_STAGE_OF)}')
        count = int(min(duration, end - onset) // EPOCH_SECONDS)
        epochs += [(onset + EPOCH_SECONDS * i, _STAGE_OF[text]) for i in range(count)]
    return epochs


def _read_psg_header(psg: Path) -> EdfHeader:
    """Read the header of a PSG; DataError unless it has all channels in the expected units and rates."""
    header = read_complete_edf_header(psg)
    channels = {channel.name: channel for channel in header.channels}
    for name, expected_unit, expected_rate in MODALITIES.values():
        if name not in channels:
            raise DataError(f"{psg} has no channel {name}: it has {', '.join(channels)}")
        rate, unit = header.rate(channels[name]), channels[name].unit
        if rate != expected_rate:
            raise DataError(f"{psg} has {name} at {rate:g} Hz, expected {expected_rate}")
        if expected_unit not in (unit, "a.u."):
            raise DataError(f'{psg} has {name} in "{unit}", expected {expected_unit}')
    return header


def _read_windows(psg: Path, starts: np.ndarray) -> np.ndarray:
    """Read the epochs that begin at `starts` (s): float32 (epoch, 5 modalities, 30 patches, 100 samples)."""
    import mne

    unit_of = {channel.name: channel.unit for channel in _read_psg_header(psg).channels}
    rates = [rate for *_, rate in MODALITIES.values()]
    windows = np.full((len(starts), len(rates), EPOCH_SECONDS, max(rates)), np.nan, np.float32)
    # mne resamples channels that it opens together to the fastest rate, so open those of one rate at a time.
    for rate in set(rates):
        rows = [i for i, channel_rate in enumerate(rates) if channel_rate == rate]
        channels = [list(MODALITIES.values())[i][0] for i in rows]
        first, length = np.round(starts * rate).astype(int), EPOCH_SECONDS * rate
        try:
            raw = mne.io.read_raw_edf(psg, include=channels, verbose="ERROR")
            samples = raw.get_data(channels, first.min(), first.max() + length, verbose="ERROR")
        except Exception as error:
            raise DataError(f"{psg} cannot be read ({_one_line(error)})") from None
        if raw.info["sfreq"] != rate:
            raise DataError(f"{psg} is read at {raw.info['sfreq']:g} Hz, expected {rate}")
        samples /= np.array([[_VOLTS.get(unit_of[channel], 1.0)] for channel in channels])
        for window, i in zip(windows, first - first.min(), strict=True):
            window[rows, :, :rate] = samples[:, i : i + length].reshape(-1, EPOCH_SECONDS, rate)
    return windows
