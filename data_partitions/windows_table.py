"""`windows.csv` of a partition: ids, split and labels of each window, as text, and the rules they obey."""

from pathlib import Path

import pandas as pd

from data_partitions.errors import DataError
from data_partitions.label_checks import LABEL_CHECKS
from data_partitions.manifest import SPLITS, Manifest, Split

WINDOWS_FILE = "windows.csv"
ID_COLUMNS = ("record_id", "patient_id", "split")


def make_windows_table(index: pd.DataFrame, manifest: Manifest) -> pd.DataFrame:
    """Select the columns that are stored, as the text that the file will contain."""
    labels = [label for label in manifest.labels if label in index]
    ids = [name for name in ID_COLUMNS if name in index]
    table = index[ids + labels].reset_index(drop=True)
    table[labels] = table[labels].map(lambda value: str(int(value)) if value in (0, 1) else str(value))
    return table.astype(str)


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
    missing = [column for column in (*ID_COLUMNS, *labels) if column not in table]
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
    for rows, fault in LABEL_CHECKS[manifest.task](table[labels]):
        refuse(rows, fault)
    splits_of_patient = table.groupby("patient_id")["split"].transform("nunique")
    refuse(splits_of_patient > 1, "belongs to a patient who is in two splits: keep each patient in one")
    if (counts := count_windows(table)) != manifest.windows:
        raise DataError(f"{name} has windows {counts}, but the manifest says {manifest.windows}")


def count_windows(table: pd.DataFrame) -> dict[Split, int]:
    """Count the windows in each split."""
    return {split: int((table["split"] == split).sum()) for split in SPLITS}
