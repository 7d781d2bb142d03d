"""The MIMIC-IV demo in MEDS, by its example description, against what the reader of MIMIC-IV reads.

Where they differ: MIMIC-IV's reader treats items of one kind alike, while the earlier channel of a signal is
preferred in a step; it derives the total GCS, and reads the text of capillary refill.
"""

from pathlib import Path

import numpy as np
import pytest

from data_partitions.description.reading import read_description
from data_partitions.description.sections import SplitSection
from data_partitions.preparation_log import PreparationLog
from data_partitions.sources import mimic_iv
from data_partitions.sources.described.reader import DescribedDataset
from data_partitions.sources.mimic_iv.items import VARIABLES
from tests.helpers.real_data import require_real

pytestmark = pytest.mark.real

EXAMPLE = Path(__file__).parents[2] / "examples" / "mimic-iv-demo-meds" / "dataset.toml"
# Cells in which another of several channels counts.
DIFFERENT = {
    "systolic BP": 1,
    "diastolic BP": 20,
    "mean BP": 7,
    "respiratory rate": 12,
    "oxygen saturation": 2,
    "glucose": 4,
}


@pytest.fixture(scope="module")
def meds():
    """The index of the stays of at least 48 h, and their windows (stay, signal, hour)."""
    source = require_real("mimic-iv-demo-meds")
    description = read_description(EXAMPLE)
    # By hash, as a copy without the shard of the training subjects has none by the file.
    reader = DescribedDataset(description.model_copy(update={"split": SplitSection()}))
    log = PreparationLog(strict=True)
    index = reader.index(source, log)
    windows = np.stack(list(reader.read(source, index, log)))
    return index, windows[..., 0], log


def test_stays_splits_and_lengths_of_stay(meds):
    index, windows, log = meds
    assert windows.shape == (14, 26, 48) and index["patient_id"].nunique() == 9
    assert index["split"].value_counts().to_dict() == {"train": 8, "val": 5, "test": 1}
    assert log.counted() == ["13 recordings of less than 48 h are left out."]
    assert log.notes[0].startswith("Dropped, after the last window, or between windows: 7075 values")
    assert index["remaining stay"].median() == pytest.approx(1.5772, abs=1e-3)


def test_windows_are_those_of_the_tables(meds):
    index, windows, _ = meds
    source = require_real("mimic-iv-demo")
    log = PreparationLog()
    rows = mimic_iv.index(source, log, task="length-of-stay")
    rows = rows[rows["patient_id"].isin(set(index["patient_id"]))]
    events = source / "icu" / "chartevents_20of100.csv.gz"
    tables = np.stack(list(mimic_iv.read(source, rows, log, chartevents=events)))[..., 0]
    start_of_stay = rows["intime"].to_numpy("datetime64[s]").astype(float)
    order = [
        int(np.flatnonzero((index["patient_id"] == patient) & (index["start"] == start))[0])
        for patient, start in zip(rows["patient_id"], start_of_stay, strict=True)
    ]
    assert len(order) == len(rows) == 10
    names = list(read_description(EXAMPLE).signals)
    observed = 0
    for name in names:
        expected, got = tables[:, list(VARIABLES).index(name)], windows[order, names.index(name)]
        np.testing.assert_array_equal(np.isnan(got), np.isnan(expected), err_msg=name)
        differ = ~np.isclose(got, expected, rtol=1e-5, equal_nan=True)
        assert differ.sum() == DIFFERENT.get(name, 0), name
        observed += np.isfinite(got).sum()
    assert observed == 4091, "of which 46 differ"
