"""PTB-XL: 12-lead ECGs of 10 s (Wagner et al., Scientific Data 7:154, 2020). Each lead is a modality.

The source is the unpacked data set: `ptbxl_database.csv`, `scp_statements.csv` and `records100/` or
`records500/`. Records without a signal are excluded, so a part of the data set suffices.

A description cannot express the labels: each record has a Python dictionary of statements with their
likelihoods, and another table says which of five superclasses each statement has.
"""

import ast
from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np
import pandas as pd

from data_partitions.download import fetch_physionet, require_path_inside
from data_partitions.duplicates import join_duplicates
from data_partitions.errors import DataError
from data_partitions.preparation_log import PreparationLog
from data_partitions.recordings.wfdb_header import read_wfdb_header
from data_partitions.sentences import count_noun
from data_partitions.unfinished import hash_preparation

DATASET = "ptb-xl"
LEADS = ("I", "II", "III", "aVR", "aVL", "aVF", "V1", "V2", "V3", "V4", "V5", "V6")
SUPERCLASSES = ("NORM", "MI", "STTC", "CD", "HYP")
RECORD_SECONDS = 10
PATCH_SECONDS = 0.1
PATH_COLUMNS = {100: "filename_lr", 500: "filename_hr"}
LABEL_RULES = {
    "any": "a superclass counts when one of its SCP statements is given, at any likelihood (0: not stated)",
    "100": "a superclass counts when one of its SCP statements is given at likelihood 100",
}
MAX_STATEMENTS_LENGTH = 10_000  # characters; those of the published records have at most some hundred
NOT_MEASURED = -(2**15)  # WFDB format 16
PUBLISHED = "ptb-xl/1.0.3"  # at PhysioNet
LICENSE = "CC BY 4.0; cite Wagner et al., Scientific Data 7:154, 2020, doi:10.13026/kfzx-aw45"


def schema(
    source: str | Path, *, rate: int = 100, label_rule: str = "any", task: str = "multi-label"
) -> dict:
    """Describe the data set at 100 or 500 Hz, "multi-label" or "single-label".

    `label_rule` is the likelihood at which a statement counts: "any" or "100".
    """
    if rate not in PATH_COLUMNS:
        raise DataError(f"PTB-XL has records at 100 or 500 Hz, but rate is {rate}")
    if label_rule not in LABEL_RULES:
        raise DataError(f'label rule "{label_rule}" is unknown: choose any or 100')
    if task not in ("multi-label", "single-label"):
        raise DataError(f'task "{task}" is unknown: choose multi-label or single-label')
    rule = LABEL_RULES[label_rule]
    if task == "single-label":
        rule += "; only records with exactly one superclass"
    samples = round(rate * PATCH_SECONDS)
    lead = {"unit": "mV", "rate": rate, "samples_per_patch": samples, "present": True}
    return {
        "dataset": DATASET,
        "version": _version(Path(source)),
        "modalities": [{"name": name, **lead} for name in LEADS],
        "patch_seconds": PATCH_SECONDS,
        "patches": round(RECORD_SECONDS / PATCH_SECONDS),
        "labels": SUPERCLASSES,
        "task": task,
        "label_rule": rule,
        "license": LICENSE,
    }


def index(
    source: str | Path,
    log: PreparationLog,
    *,
    rate: int = 100,
    label_rule: str = "any",
    task: str = "multi-label",
) -> pd.DataFrame:
    """List the records with a signal: record_id, patient_id, split, site, the superclasses, path, rate.

    Records without any superclass have no diagnosis, and are excluded. "single-label" includes those with
    exactly one. Patients who share a signal (duplicates in the data set) become one patient, who
    is in train if any of them is, else in val if any is. Notes say what is excluded. Options are those of
    `schema`.

    Raises DataError that names what is wrong with the tables.
    """
    schema(source, rate=rate, label_rule=label_rule, task=task)  # refuses unknown options
    source = Path(source)
    table = _read_database(source, PATH_COLUMNS[rate])
    has_header = [(source / f"{path}.hea").is_file() for path in table["path"]]
    if not any(has_header):
        raise DataError(
            f"{source / f'records{rate}'} has no record of ptbxl_database.csv: unpack the signals"
        )
    if not all(has_header):
        log.note(
            "Excluded because their signals are missing: "
            f"{count_noun(len(has_header) - sum(has_header), 'record')}."
        )
    superclasses = _read_superclasses(source)
    min_likelihood = 100 if label_rule == "100" else 0
    usable: list[Mapping] = []
    for row in table[has_header].to_dict("records"):
        try:
            if not (source / f"{row['path']}.dat").is_file():
                raise DataError(
                    f"record {row['record_id']} has a header but no signal: {row['path']}.dat is missing"
                )
            names = _superclasses_of(row["record_id"], row["scp_codes"], superclasses, min_likelihood)
            labels: Mapping = {name: int(name in names) for name in SUPERCLASSES}
            usable.append({**row, "split": _split_of_fold(row["record_id"], row["fold"]), **labels})
        except DataError as error:
            log.reject(error)
    if not usable:
        raise DataError(f"no record of {source} can be used{log.explain()}")
    table = pd.DataFrame(usable)
    in_two_splits = table.groupby("patient_id")["split"].transform("nunique") > 1
    if in_two_splits.any():
        first = table[in_two_splits].iloc[0]
        raise DataError(
            f"patient {first['patient_id']} (record {first['record_id']}) is in two splits by strat_fold: "
            "all records of a patient must be in one"
        )
    join_duplicates([source / f"{path}.dat" for path in table["path"]], table, log)
    table["site"] = table["site"].map(lambda site: f"hospital-{site}" if site else "")
    table["rate"] = rate
    table = table[["record_id", "patient_id", "split", "site", *SUPERCLASSES, "path", "rate"]]
    none = ~table[list(SUPERCLASSES)].any(axis=1)
    if none.any():
        log.note(
            f"Excluded because they have none of the superclasses: {count_noun(int(none.sum()), 'record')}."
        )
        table = table[~none].reset_index(drop=True)
    if task == "single-label":
        several = table[list(SUPERCLASSES)].sum(axis=1) > 1
        if several.any():
            log.note(
                "Excluded because they have more than one superclass: "
                f"{count_noun(int(several.sum()), 'record')}."
            )
        table = table[~several].reset_index(drop=True)
    return table


def read(source: str | Path, rows: pd.DataFrame, log: PreparationLog, **_) -> Iterator[np.ndarray | None]:
    """Read the records of rows of the index; see `read_record`. None for one that cannot be read."""
    for row in rows[["record_id", "path", "rate"]].to_dict("records"):
        try:
            yield read_record(source, row)
        except DataError as error:
            log.reject(error)
            yield None


def resumption_key(source: str | Path, rows: pd.DataFrame) -> str:
    """Return what makes an interrupted preparation the same; see `DatasetReader`."""
    return hash_preparation(DATASET, rows, [Path(source) / f"{path}.dat" for path in rows["path"]])


def read_record(source: str | Path, row: Mapping) -> np.ndarray:
    """Read the record of one row of the index: float32 (12 leads, 100 patches, samples per patch), mV.

    Leads are found by name. Raises DataError that names the record when header and signal do not match the
    index.
    """
    path, rate = Path(source) / row["path"], int(row["rate"])

    def require(condition: bool, fault: str) -> None:
        if not condition:
            raise DataError(f"record {row['record_id']} ({path}): {fault}")

    try:
        header = read_wfdb_header(path.with_name(f"{path.name}.hea"))
    except DataError as error:
        raise DataError(f"record {row['record_id']}: {error}") from None
    length = rate * RECORD_SECONDS
    signals = header.signals
    require(header.rate == rate, f"its header says {header.rate:g} Hz, expected {rate}")
    require(header.samples == length, f"its header says {header.samples} samples, expected {length}")
    names = [signal.name.lower() for signal in signals]
    expected_names = [name.lower() for name in LEADS]
    leads = ", ".join(signal.name for signal in signals) or "none"
    require(sorted(names) == sorted(expected_names), f"its leads are {leads}, expected {', '.join(LEADS)}")
    units = sorted({signal.unit for signal in signals})
    require(all(unit.lower() == "mv" for unit in units), f"its units are {', '.join(units)}, expected mV")
    require(
        all(s.format == "16" and s.file == f"{path.name}.dat" and s.gain for s in signals),
        f"its header names another signal than 16-bit samples in {path.name}.dat",
    )
    try:
        raw = np.fromfile(f"{path}.dat", "<i2")
    except OSError as error:
        raise DataError(f"record {row['record_id']}: {path}.dat cannot be read ({error.strerror})") from None
    require(
        raw.size == length * len(LEADS),
        f"its signal has {raw.nbytes} bytes, expected {2 * length * len(LEADS)}: fetch the file again",
    )
    raw = raw.reshape(length, len(LEADS))
    physical = (raw - np.array([s.baseline for s in signals])) / np.array([s.gain for s in signals])
    physical[raw == NOT_MEASURED] = np.nan
    ecg = physical[:, [names.index(name) for name in expected_names]].T
    return ecg.astype(np.float32).reshape(len(LEADS), round(RECORD_SECONDS / PATCH_SECONDS), -1)


def download(out: str | Path, log: PreparationLog, *, rate: int = 100, **_) -> None:
    """Fetch the tables and all records of one rate: 0.6 GB at 100 Hz, 2.6 GB at 500 Hz."""
    fetch_physionet(PUBLISHED, ["ptbxl_database.csv", "scp_statements.csv", "LICENSE.txt"], out, log)
    records = _read_database(Path(out), PATH_COLUMNS[rate])["path"]
    fetch_physionet(PUBLISHED, [f"{path}{end}" for path in records for end in (".hea", ".dat")], out, log)


def _version(source: Path) -> str:
    """Infer the version, which no file states, from the number of records."""
    try:
        records = len(pd.read_csv(source / "ptbxl_database.csv", usecols=[0]))
    except (OSError, ValueError):
        return "unknown"
    return {21837: "1.0.1 or 1.0.2", 21799: "1.0.3"}.get(records, f"1.0, part: {records} records listed")


def _read_csv(file: Path, columns: list[str], **options) -> pd.DataFrame:
    try:
        table = pd.read_csv(file, **options)
    except FileNotFoundError:
        raise DataError(f"there is no {file}: give the folder of the unpacked PTB-XL as source") from None
    except ValueError as error:  # pandas' parser errors are ValueErrors
        raise DataError(f"{file} is not a readable csv ({' '.join(str(error).split())})") from None
    missing = [name for name in columns if name not in table]
    if missing:
        raise DataError(f"{file} has no column {', '.join(missing)}: it has {', '.join(table.columns)}")
    return table


def _read_database(source: Path, path_column: str) -> pd.DataFrame:
    columns = ["ecg_id", "patient_id", "site", "scp_codes", "strat_fold", path_column]
    file = source / "ptbxl_database.csv"
    table = _read_csv(file, columns, usecols=lambda name: name in columns, dtype=str, keep_default_na=False)
    for column in ("ecg_id", "patient_id", path_column):
        empty = table[column].isna() | (table[column] == "")
        if empty.any():
            row = int(empty.to_numpy().argmax())
            raise DataError(f"{file}: record {table['ecg_id'][row] or f'in row {row}'} has no {column}")
    for path in table[path_column]:
        require_path_inside(path, str(file))
    repeated = table["ecg_id"][table["ecg_id"].duplicated()]
    if len(repeated):
        raise DataError(f"{file}: ecg_id {repeated.iloc[0]} appears twice, each must be unique")
    for name in ("patient_id", "site"):
        table[name] = table[name].str.removesuffix(".0")  # whole numbers are stored as "3.0"
    return table.rename(columns={"ecg_id": "record_id", "strat_fold": "fold", path_column: "path"})


def _split_of_fold(record: str, fold: str) -> str:
    if fold not in map(str, range(1, 11)):
        raise DataError(f'record {record} has strat_fold "{fold}": expected 1 to 10')
    return {"9": "val", "10": "test"}.get(fold, "train")


def _read_superclasses(source: Path) -> dict[str, str | None]:
    """Return the superclass of each SCP statement; None for statements that are not diagnostic."""
    statements = _read_csv(source / "scp_statements.csv", ["diagnostic", "diagnostic_class"], index_col=0)
    return {
        str(code): row["diagnostic_class"] if row["diagnostic"] == 1 else None
        for code, row in statements.iterrows()
    }


def _superclasses_of(
    record: str, text: str, superclasses: dict[str, str | None], min_likelihood: float
) -> set[str]:
    """Return the superclasses of a record by its statements."""
    try:
        if len(text) > MAX_STATEMENTS_LENGTH:
            raise ValueError
        codes = {str(code): float(likelihood) for code, likelihood in ast.literal_eval(text).items()}
    except (ValueError, SyntaxError, AttributeError, TypeError, RecursionError, MemoryError):
        raise DataError(
            f"record {record} has scp_codes {text[:60]!r}: expected statements and likelihoods, "
            "like {'NORM': 100.0}"
        ) from None
    for code in codes:
        if code not in superclasses:
            raise DataError(f"record {record} has statement {code}, which scp_statements.csv does not have")
    names = (superclasses[code] for code, likelihood in codes.items() if likelihood >= min_likelihood)
    return {name for name in names if name is not None}
