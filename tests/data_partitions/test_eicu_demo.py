"""The eICU demo by its example descriptions: hourly values by YAIB, hospitals and ends of stays by eICU."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from data_partitions.description.reading import read_description
from data_partitions.preparation_log import PreparationLog
from data_partitions.sources.described.reader import DescribedDataset
from tests.helpers.real_data import require_real

pytestmark = pytest.mark.real

EXAMPLES = Path(__file__).parents[2] / "examples" / "eicu-demo"
DAYS_OF_YAIB = 7  # its lengths of stay end there


# One has 90 where the other has "> 89".
CLASH = (
    'patient.csv.gz and the tables before it have different texts in the column "age": those of the first '
    "table count."
)


@pytest.fixture(scope="module")
def source() -> Path:
    require_real("eicu-demo")
    return require_real("yaib-demo").parent


def test_deaths_and_hospitals_of_1367_stays(source):
    reader = DescribedDataset(read_description(EXAMPLES / "mortality.toml"))
    log = PreparationLog(strict=True)
    index = reader.index(source, log)
    assert len(index) == 1367 and index["patient_id"].nunique() == 1146
    by_region = index.groupby("site")["death"].agg(["size", "sum"])
    assert by_region["size"].to_dict() == {
        "midwest": 430,
        "northeast": 97,
        "south": 416,
        "unknown": 119,
        "west": 305,
    }
    assert by_region["sum"].tolist() == [17, 8, 21, 9, 15]
    assert index["covariate sex"].value_counts().to_dict() == {"male": 809, "female": 558}
    assert log.rejected == log.counted() == [] and log.notes == [CLASH]


def test_windows_have_the_cells_of_the_table(source):
    reader = DescribedDataset(read_description(EXAMPLES / "mortality.toml"))
    log = PreparationLog(strict=True)
    index = reader.index(source, log)
    windows = np.stack(list(reader.read(source, index, log)))
    assert windows.shape == (1367, 48, 24, 1)
    table = pd.read_csv(source / "yaib-demo/mortality24/eicu-demo/dyn.csv.gz").set_index(["stay_id", "time"])
    cells = pd.MultiIndex.from_product([index["record_id"].astype(int), range(24)])
    expected = table.reindex(cells).to_numpy(np.float32).reshape(1367, 24, 48).swapaxes(1, 2)
    differ = ~np.isclose(windows[..., 0], expected, rtol=0, atol=0, equal_nan=True)
    assert differ.sum() == 5 and np.isnan(windows[..., 0][differ]).all()
    assert log.notes == [
        CLASH,
        "Dropped, after the last window, or between windows: 9015 values.",
        "Dropped because they are outside the range of their signal: crp 2, hr 2, dbp 1.",
    ]


def test_the_remaining_stay_is_that_of_yaib(source):
    """YAIB counts whole hours, at most a week."""
    index = DescribedDataset(read_description(EXAMPLES / "length-of-stay.toml")).index(
        source, PreparationLog()
    )
    hours = 24 * index.set_index(index["record_id"].astype(int))["remaining stay"]
    yaib = pd.read_csv(source / "yaib-demo/los/eicu-demo/outc.csv.gz")
    yaib = yaib[yaib["time"] == 24].set_index("stay_id")["label"].reindex(hours.index)
    assert yaib.notna().all()
    short = yaib < 24 * DAYS_OF_YAIB - 24
    assert short.sum() == 1222 and (hours - yaib)[short].between(-0.01, 1).all()
