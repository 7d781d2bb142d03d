"""`windows.csv` of a partition: ids, split and labels of each window, as text, and the rules they obey."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from data_partitions.errors import DataError
from data_partitions.label_checks import FLOAT32_MAX, LABEL_RULES
from data_partitions.manifest import SPLITS, Covariate, Manifest, Split

WINDOWS_FILE = "windows.csv"
ID_COLUMNS = ("record_id", "patient_id", "split")
RECORDING_COLUMN = "recording_id"  # optional: the recording that a window is from, if it has several


def make_windows_table(index: pd.DataFrame, manifest: Manifest) -> pd.DataFrame:
    """Select the columns that are stored, as the text that the file will contain."""
    covariates = [covariate.column for covariate in manifest.covariates]
    values = [name for name in (*manifest.labels, *covariates) if name in index]
    ids = [name for name in (*ID_COLUMNS, RECORDING_COLUMN) if name in index]
    table = index[ids + values].reset_index(drop=True)
    for name in values:
        table[name] = table[name].map(_format_value).astype(str)
    return table.astype(str)


def _format_value(value: object) -> str:
    if value is None or value != value:  # NaN
        return ""
    return str(int(value)) if value in (0, 1) else str(value)


def read_windows_table(file: Path) -> pd.DataFrame:
    """Read the file as text; DataError when it is missing or not a csv file."""
    try:
        return pd.read_csv(file, dtype=str, keep_default_na=False, encoding="utf-8")
    except FileNotFoundError:
        raise DataError(f"{file.parent} has no {file.name}: prepare the partition again") from None
    except ValueError as error:  # pandas' parser errors are ValueErrors
        message = " ".join(str(error).split())
        raise DataError(f"{file} is not a readable csv ({message}): prepare the partition again") from None


def check_windows_table(table: pd.DataFrame, manifest: Manifest, name: str) -> None:
    """Raise DataError unless a table is valid and agrees with the manifest; errors call it `name`."""
    labels = list(manifest.labels)
    columns = (*ID_COLUMNS, *labels, *(covariate.column for covariate in manifest.covariates))
    missing = [column for column in columns if column not in table]
    if missing:
        raise DataError(f"{name} has no column {', '.join(missing)}: it has {', '.join(table.columns)}")
    if table.empty:
        raise DataError(f'{name} has no rows: site "{manifest.site}" would have no windows')

    def refuse(rows: pd.Series, fault: str) -> None:
        if rows.any():
            row = int(rows.to_numpy().argmax())
            raise DataError(f"{name}: row {row} (record {table['record_id'].iloc[row]}) {fault}")

    refuse(table["record_id"].isin([""]) | table["record_id"].isna(), "has no record_id")
    refuse(table["record_id"].duplicated(), "has a record_id that an earlier row has: each must be unique")
    refuse(table["patient_id"].isin([""]) | table["patient_id"].isna(), "has no patient_id")
    refuse(~table["split"].isin(SPLITS), "has a split other than train, val or test")
    empty = table[labels] == ""
    unlabelled = empty.all(axis=1)
    refuse(empty.any(axis=1) & ~unlabelled, "has some of its labels and lacks others: give all or none")
    for rows, fault in LABEL_RULES[manifest.task].check(table.loc[~unlabelled, labels]):
        refuse(rows.reindex(table.index, fill_value=False), fault)
    for covariate in manifest.covariates:
        refuse(*_check_covariate(table[covariate.column], covariate))
    if RECORDING_COLUMN in table:
        refuse(table[RECORDING_COLUMN].isin([""]) | table[RECORDING_COLUMN].isna(), "has no recording_id")
        patients_of_recording = table.groupby(RECORDING_COLUMN)["patient_id"].transform("nunique")
        refuse(patients_of_recording > 1, "has the recording_id of another patient: each must be unique")
    splits_of_patient = table.groupby("patient_id")["split"].transform("nunique")
    refuse(splits_of_patient > 1, "belongs to a patient who is in two splits: keep each patient in one")
    if (counts := count_windows(table)) != manifest.windows:
        raise DataError(f"{name} has windows {counts}, but the manifest says {manifest.windows}")


def _check_covariate(column: pd.Series, covariate: Covariate) -> tuple[pd.Series, str]:
    """Return which rows have an impossible covariate, and the fault."""
    fault = f"has a value of covariate {covariate.name}"
    if covariate.categories:
        names = ", ".join(covariate.categories)
        return ~column.isin(["", *covariate.categories]), f"{fault} other than {names}"
    is_finite = pd.to_numeric(column, errors="coerce").between(-FLOAT32_MAX, FLOAT32_MAX)
    return (column != "") & ~is_finite, f"{fault} that is not a finite number"


def read_numbers(columns: pd.DataFrame) -> np.ndarray:
    """Convert checked columns to float32 `(window, column)`; NaN where a cell is empty."""
    return columns.replace("", "nan").to_numpy(dtype=np.float32)


def read_covariates(table: pd.DataFrame, covariates: Sequence[Covariate]) -> np.ndarray:
    """Convert checked covariates to float32 `(window, covariate)`: categories as positions; NaN if empty."""
    numbers = {
        c.name: table[c.column].map({name: str(i) for i, name in enumerate(c.categories)} | {"": ""})
        if c.categories
        else table[c.column]
        for c in covariates
    }
    return read_numbers(pd.DataFrame(numbers, index=table.index))


def count_windows(table: pd.DataFrame) -> dict[Split, int]:
    """Count the windows in each split."""
    return {split: int((table["split"] == split).sum()) for split in SPLITS}
