"""Small generated folders of PTB-XL and MIMIC-IV, one small partition, and PTB-XL itself where it is."""

import os
import shutil
from pathlib import Path

import numpy as np
import pytest

from data_partitions.partition import Partition, write_partition
from data_partitions.sources import demo
from tests.helpers.generated_mimic_iv import write_tables
from tests.helpers.mimic_iv_stays import prepared
from tests.helpers.small_partition import index_of, manifest_of, windows_of


@pytest.fixture(scope="session")
def raw(tmp_path_factory) -> Path:
    """About 60 generated records; treat as read-only."""
    path = tmp_path_factory.mktemp("demo") / "raw"
    demo.write_source(path, patients=56, seed=1)
    return path


@pytest.fixture
def raw_copy(raw, tmp_path) -> Path:
    """A copy of `raw` that a test may damage."""
    return Path(shutil.copytree(raw, tmp_path / "raw"))


@pytest.fixture(scope="session")
def generated(tmp_path_factory) -> Path:
    """MIMIC-IV shaped tables of 40 stays with all their events; treat as read-only."""
    return write_tables(tmp_path_factory.mktemp("mimic") / "gz")


@pytest.fixture(scope="session")
def generated_windows(generated) -> np.ndarray:
    """The windows of those stays; treat as read-only."""
    return np.stack(prepared(generated)[1])


@pytest.fixture
def real() -> Path:
    """PTB-XL, or a part of it, in CONDI_DATA or beside the repository; else the test is skipped."""
    places = [os.environ.get("CONDI_DATA"), Path(__file__).parents[3] / "shared" / "data"]
    for place in filter(None, places):
        if (Path(place) / "ptbxl" / "ptbxl_database.csv").exists():
            return Path(place) / "ptbxl"
    pytest.skip("no PTB-XL here: set CONDI_DATA to the folder that has ptbxl/")


@pytest.fixture
def partition(tmp_path) -> Partition:
    write_partition(tmp_path / "here", manifest_of(), index_of(), windows_of())
    return Partition.open(tmp_path / "here")
