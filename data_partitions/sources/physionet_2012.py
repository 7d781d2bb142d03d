"""PhysioNet/CinC Challenge 2012 (Silva et al., Computing in Cardiology 39:245-248, 2012).

The windows are the first 48 h of ICU stays, the label is in-hospital death. Each of the 37 variables is a
modality with one sample per hour.

The source is what PhysioNet publishes: `set-a.tar.gz` or the folder `set-a/` with one text file per stay
(Time, Parameter, Value), and `Outcomes-a.txt`; the same for sets b and c if they exist.
"""

import gzip
import re
import tarfile
import zlib
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd

from data_partitions.download import fetch_physionet
from data_partitions.errors import DataError
from data_partitions.preparation_log import PreparationLog
from data_partitions.splits import hash_splits

DATASET = "physionet-2012"
WINDOW_HOURS = 48
ICU_TYPES = {"1": "coronary-care", "2": "cardiac-surgery", "3": "medical-icu", "4": "surgical-icu"}
DESCRIPTORS = {"RecordID", "Age", "Gender", "Height", "ICUType"}
LICENSE = "ODC-By 1.0; cite Silva et al., Computing in Cardiology 39:245-248, 2012"

# Variable: unit, lowest and highest plausible value. Most values outside are typing errors (pH 735) or sensor
# faults (an arterial pressure of 0); -1 stands for "not measured".
VARIABLES = {
    "Albumin": ("g/dL", 0.5, 10),
    "ALP": ("IU/L", 1, 5000),
    "ALT": ("IU/L", 1, 20000),
    "AST": ("IU/L", 1, 30000),
    "Bilirubin": ("mg/dL", 0, 100),
    "BUN": ("mg/dL", 0, 300),
    "Cholesterol": ("mg/dL", 10, 1000),
    "Creatinine": ("mg/dL", 0.1, 60),
    "DiasABP": ("mmHg", 1, 375),
    "FiO2": ("fraction", 0.21, 1),
    "GCS": ("points", 3, 15),
    "Glucose": ("mg/dL", 10, 2000),
    "HCO3": ("mmol/L", 1, 80),
    "HCT": ("%", 5, 75),
    "HR": ("bpm", 1, 350),
    "K": ("mmol/L", 1, 15),
    "Lactate": ("mmol/L", 0.1, 40),
    "MAP": ("mmHg", 1, 330),
    "MechVent": ("0/1", 0, 1),
    "Mg": ("mmol/L", 0.1, 20),
    "Na": ("mmol/L", 80, 200),
    "NIDiasABP": ("mmHg", 1, 375),
    "NIMAP": ("mmHg", 1, 330),
    "NISysABP": ("mmHg", 1, 375),
    "PaCO2": ("mmHg", 1, 200),
    "PaO2": ("mmHg", 1, 700),
    "pH": ("pH", 6.5, 8),
    "Platelets": ("1000/uL", 1, 3000),
    "RespRate": ("1/min", 0, 120),
    "SaO2": ("%", 0, 100),
    "SysABP": ("mmHg", 1, 375),
    "Temp": ("degC", 25, 45),
    "TroponinI": ("ug/L", 0, 200),
    "TroponinT": ("ug/L", 0, 200),
    "Urine": ("mL", 0, 5000),
    "WBC": ("1000/uL", 0, 500),
    "Weight": ("kg", 20, 400),
}
_ICU_TYPE = re.compile(rb"^00:00,ICUType,([^\s,]+?)(?:\.0)?\s*$", re.MULTILINE)
_ROW_OF = {name: row for row, name in enumerate(VARIABLES)}
_BOUNDS = {name: (low, high) for name, (_, low, high) in VARIABLES.items()}


def schema(source: str | Path) -> dict:
    """Describe the data set: 48 patches of one hour with one sample each."""
    hourly = {"rate": 1 / 3600, "samples_per_patch": 1, "present": True}
    return {
        "dataset": DATASET,
        "version": "1.0.0, " + " ".join(name for name, _ in _find_sets(Path(source))),
        "modalities": [{"name": name, "unit": unit, **hourly} for name, (unit, *_) in VARIABLES.items()],
        "patch_seconds": 3600.0,
        "patches": WINDOW_HOURS,
        "labels": ("survived", "died"),
        "task": "single-label",
        "label_rule": "died: in-hospital death by the outcomes file",
        "license": LICENSE,
    }


def index(source: str | Path, log: PreparationLog) -> pd.DataFrame:
    """List the stays: record_id and patient_id (both the RecordID), split, site, survived, died, set.

    `site` is the type of the ICU. A stay without an outcome or an ICU type is rejected. Raises DataError when
    there is no set, or its outcomes cannot be read.
    """
    rows = []
    for name, path in _find_sets(Path(source)):
        died = _read_outcomes(path.parent / f"Outcomes-{name[-1]}.txt")
        for done, (record, text) in enumerate(_iterate_stays(path), start=1):
            try:
                match = _ICU_TYPE.search(text)
                icu = match[1].decode("ascii", "replace") if match else "none"
                if icu not in ICU_TYPES:
                    raise DataError(f"stay {record} ({path}) has ICUType {icu}, expected 1 to 4")
                if record not in died:
                    raise DataError(f"stay {record} is not in Outcomes-{name[-1]}.txt")
                rows.append((record, ICU_TYPES[icu], 1 - died[record], died[record], name))
            except DataError as error:
                log.reject(error)
            log.progress(f"reading {name}", done, len(died))
    if not rows:
        raise DataError(
            f"no stay of {source} can be used; the first rejected one: {(log.rejected or ['no file'])[0]}"
        )
    table = pd.DataFrame(rows, columns=["record_id", "site", "survived", "died", "set"])
    repeated = table["record_id"][table["record_id"].duplicated()]
    if len(repeated):
        raise DataError(f"stay {repeated.iloc[0]} appears twice in {source}: each RecordID must be unique")
    table["patient_id"] = table["record_id"]
    table["split"] = table["patient_id"].map(hash_splits(DATASET, table["patient_id"]))
    return table


def read(source: str | Path, rows: pd.DataFrame, log: PreparationLog) -> Iterator[np.ndarray | None]:
    """Read the last value of each hour: float32 (37 variables, 48 hours, 1); None for a rejected stay.

    Values outside the plausible range of their variable, and those measured after 48 h, are dropped and
    counted in notes.
    """
    records = set(rows["record_id"])
    windows: dict[str, np.ndarray] = {}
    dropped: Counter[str] = Counter()
    for name, path in _find_sets(Path(source)):
        if name in set(rows["set"]):
            for record, text in _iterate_stays(path):
                if record in records:
                    try:
                        windows[record] = _hourly_values(record, text, dropped)
                    except DataError as error:
                        log.reject(error)
                log.progress("reading values", len(windows), len(records))
    late = dropped.pop("late", 0)
    if late:
        log.note(f"Dropped because they were measured after {WINDOW_HOURS} h: {late} values.")
    if dropped:
        counts = ", ".join(f"{name} {n}" for name, n in dropped.most_common())
        log.note(f"Dropped because they are outside the plausible range of their variable: {counts}.")
    empty = sum(bool(np.isnan(window).all()) for window in windows.values())
    if empty:
        log.note(f"Included although nothing was measured in {WINDOW_HOURS} h: {empty} stays.")
    for record in rows["record_id"]:
        yield windows.pop(record, None)


def download(out: str | Path, log: PreparationLog, **_) -> None:
    """Fetch sets a, b and c with their outcomes (about 25 MB)."""
    names = [name for letter in "abc" for name in (f"set-{letter}.tar.gz", f"Outcomes-{letter}.txt")]
    fetch_physionet("challenge-2012/1.0.0", names, out, log)


def _find_sets(source: Path) -> list[tuple[str, Path]]:
    """Return ("set-a", its folder or archive) for each set that exists."""
    sets = []
    for name in ("set-a", "set-b", "set-c"):
        paths = [p for p in (source / name, source / f"{name}.tar.gz") if p.exists()]
        sets += [(name, p) for p in paths[:1]]
    if not sets:
        raise DataError(
            f"{source} has neither set-a.tar.gz nor the folder set-a: give the folder where the files of "
            "the PhysioNet Challenge 2012 are, or fetch them with --download"
        )
    return sets


def _read_outcomes(file: Path) -> dict[str, int]:
    """Return 1 for in-hospital death, else 0, by RecordID."""
    columns = ["RecordID", "In-hospital_death"]
    try:
        table = pd.read_csv(file, dtype=str)
    except FileNotFoundError:
        raise DataError(
            f"there is no {file}, which has the outcomes: fetch it into the folder of the records"
        ) from None
    except ValueError as error:  # pandas' parser errors are ValueErrors
        raise DataError(f"{file} is not a readable csv ({' '.join(str(error).split())})") from None
    missing = [name for name in columns if name not in table]
    if missing:
        raise DataError(f"{file} has no column {', '.join(missing)}: it has {', '.join(table.columns)}")
    invalid = table[~table["In-hospital_death"].isin(["0", "1"])]
    if len(invalid):
        record, death = invalid[columns].iloc[0]
        raise DataError(f"{file}: stay {record} has In-hospital_death {death}, expected 0 or 1")
    return dict(zip(table["RecordID"], table["In-hospital_death"].astype(int), strict=True))


def _iterate_stays(path: Path) -> Iterator[tuple[str, bytes]]:
    """Yield RecordID and text of each stay."""
    if path.is_dir():
        for file in sorted(path.glob("*.txt")):
            yield file.stem, file.read_bytes()
        return
    try:
        # tarfile mistakes damage for the end of the archive, but gzip compares checksums at its end.
        with gzip.open(path) as unpacked, tarfile.open(fileobj=unpacked, mode="r|") as archive:
            for member in archive:
                if member.name.endswith(".txt") and (content := archive.extractfile(member)) is not None:
                    yield Path(member.name).stem, content.read()
            while unpacked.read(2**20):
                pass
    except (tarfile.ReadError, zlib.error, EOFError, OSError) as error:
        raise DataError(f"{path} is damaged ({error}): fetch it again") from None


def _parse_lines(record: str, text: bytes) -> list[list[str]]:
    """Return [time, parameter, value] of each line but the header."""
    header, *lines = text.decode("utf-8", "replace").splitlines() or [""]
    if header.strip() != "Time,Parameter,Value":
        raise DataError(f'stay {record} does not begin with "Time,Parameter,Value": fetch it again')
    parts = [line.split(",") for line in lines]
    for number, part in enumerate(parts, start=2):
        if len(part) != 3:
            raise DataError(f'stay {record}, line {number}: "{",".join(part)[:40]}" is not {header.strip()}')
    return parts


def _hourly_values(record: str, text: bytes, dropped: Counter[str]) -> np.ndarray:
    """Return the window of one stay; `dropped` counts what was dropped, by variable."""
    values = np.full((len(VARIABLES), WINDOW_HOURS, 1), np.nan, np.float32)
    latest = np.full(values.shape[:2], -1, np.int32)
    for number, (time, name, value) in enumerate(_parse_lines(record, text), start=2):
        if name in DESCRIPTORS:
            continue
        try:
            row = _ROW_OF[name]
            hours, _, minutes = time.partition(":")
            minute, x = 60 * int(hours) + int(minutes), float(value)
        except (KeyError, ValueError):
            raise DataError(
                f'stay {record}, line {number}: "{time},{name},{value}" is not a time HH:MM, one of the 37 '
                "variables and a number"
            ) from None
        low, high = _BOUNDS[name]
        if minute >= 60 * WINDOW_HOURS:
            dropped["late"] += 1
        elif x == -1:
            continue
        elif not (minute >= 0 and low <= x <= high):
            dropped[name] += 1
        elif minute >= latest[row, hour := minute // 60]:
            latest[row, hour] = minute
            values[row, hour, 0] = x
    return values
