"""Sleep-EDF Expanded, cassette study (Kemp et al., IEEE-TBME 47(9):1185-1194, 2000).

The windows are epochs of 30 s of nights at home, the labels are five sleep stages. Each channel is a modality
at its own rate. The nights are read by the description `sleep-edf.toml`; here are the length of wake as an
option, and the download.

The source has pairs `SC4ssNE0-PSG.edf` and `SC4ssNEC-Hypnogram.edf` (subject ss, night N) anywhere below its
folder. Telemetry nights (ST7...) are excluded.
"""

from collections import defaultdict
from collections.abc import Iterator, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from data_partitions.descriptions import read_shipped_description
from data_partitions.errors import DataError
from data_partitions.preparation_log import PreparationLog
from data_partitions.sources.described.reader import DescribedDataset

DATASET = "sleep-edf"
WAKE_MINUTES = 30.0
PUBLISHED_SUBJECTS = tuple(n for n in range(83) if n not in (39, 68, 69, 78, 79))
UNPUBLISHED_NIGHTS = {(13, 2), (36, 1), (52, 1)}  # (subject, night)


def schema(source: str | Path, *, wake_minutes: float = WAKE_MINUTES) -> dict[str, Any]:
    """Describe the data set: 30 patches of 1 s. `wake_minutes` as in `index`."""
    return _describe(wake_minutes).schema(source)


def index(source: str | Path, log: PreparationLog, *, wake_minutes: float = WAKE_MINUTES) -> pd.DataFrame:
    """List the epochs; see `DescribedDataset.index`.

    record_id is the night and the number of the epoch in it, "SC4001-0123"; patient_id is the subject. Wake
    epochs more than `wake_minutes` before the first or after the last sleep epoch are excluded. A night that
    cannot be used is rejected.

    Raises DataError when no night can be used.
    """
    dataset, source = _describe(wake_minutes), Path(source)
    telemetry = len(list(source.rglob("ST7*-PSG.edf")))
    if telemetry:
        reason = "they have no airflow, and their EMG is at 100 Hz"
        log.note(f"Excluded because {reason}: {telemetry} telemetry nights (ST7).")
    if not any(source.rglob("SC4*-PSG.edf")):
        content = f"only {telemetry} telemetry nights" if telemetry else "no nights"
        raise DataError(
            f"{source} has {content}: give a folder with cassette nights, files such as SC4001E0-PSG.edf and "
            "SC4001EC-Hypnogram.edf, or fetch them with --download"
        )
    return dataset.index(source, log)


def read(
    source: str | Path, rows: pd.DataFrame, log: PreparationLog, **_: Any
) -> Iterator[np.ndarray | None]:
    """Read the epochs of rows of the index: float32 (5 modalities, 30 patches, 100 samples).

    Values are in uV, those of Resp as the file has them; Resp and EMG have one sample per patch, and NaN
    beyond it. Yields None where the night cannot be read.
    """
    return _describe(WAKE_MINUTES).read(source, rows, log)


def resumption_key(source: str | Path, rows: pd.DataFrame) -> str:
    """Return what makes an interrupted preparation the same; see `DatasetReader`."""
    return _describe(WAKE_MINUTES).resumption_key(source, rows)


def download(
    out: str | Path,
    log: PreparationLog,
    *,
    subjects: Sequence[int] = PUBLISHED_SUBJECTS,
    recordings: Sequence[int] = (1, 2),
    base_url: str | None = None,
    **_,
) -> None:
    """Fetch the nights 1 and 2, or some `recordings`, of subjects: 7 GB for all; DataError when one differs.

    A file gets its name when its checksum is the published one, and complete nights are not fetched again, so
    an interrupted call can simply be repeated.
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
    complete = _find_complete_nights(Path(out))
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


def _find_complete_nights(folder: Path) -> set[str]:
    """Return the nights, such as "SC4001", that have both files."""
    kinds_of_night = defaultdict(set)
    for file in folder.rglob("SC4*.edf"):
        kinds_of_night[file.name[:6]].add(file.stem.rpartition("-")[2])
    return {night for night, kinds in kinds_of_night.items() if {"PSG", "Hypnogram"} <= kinds}


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split()) or type(error).__name__


@lru_cache(maxsize=4)
def _describe(wake_minutes: float) -> DescribedDataset:
    """Return the reader of the description, with another length of wake."""
    if not wake_minutes >= 0:
        raise DataError(f"wake_minutes must be 0 or more, it is {wake_minutes:g}")
    description = read_shipped_description(DATASET)
    window, task = description.window, description.task
    assert window.keep is not None
    keep = window.keep.model_copy(update={"minutes": wake_minutes})
    rule = task.rule.replace(f"{window.keep.minutes:g} min", f"{wake_minutes:g} min")
    return DescribedDataset(
        description.model_copy(
            update={
                "window": window.model_copy(update={"keep": keep}),
                "task": task.model_copy(update={"rule": rule}),
            }
        )
    )
