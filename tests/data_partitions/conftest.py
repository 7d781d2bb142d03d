"""Small generated folders of PTB-XL and MIMIC-IV, a small partition, and PTB-XL itself if it is available."""

import shutil
from pathlib import Path

import numpy as np
import pytest

from data_partitions.partition import Partition, write_partition
from data_partitions.sources import demo
from tests.helpers.generated_mimic_iv import write_tables
from tests.helpers.mimic_iv_stays import prepare
from tests.helpers.real_data import require_real
from tests.helpers.small_partition import index_of, manifest_of, windows_of


@pytest.fixture(scope="session")
def raw(tmp_path_factory) -> Path:
    """A folder in the format of PTB-XL with 60 generated records; treat as read-only."""
    path = tmp_path_factory.mktemp("demo") / "raw"
    demo.write_source(path, patients=56, seed=1)
    return path


@pytest.fixture
def raw_copy(raw, tmp_path) -> Path:
    """A copy of `raw` that a test may damage."""
    return Path(shutil.copytree(raw, tmp_path / "raw"))


@pytest.fixture(scope="session")
def generated(tmp_path_factory) -> Path:
    """Generated tables of MIMIC-IV with 40 stays and all their events; treat as read-only."""
    return write_tables(tmp_path_factory.mktemp("mimic") / "gz")


@pytest.fixture(scope="session")
def generated_windows(generated) -> np.ndarray:
    """The windows of the generated stays; treat as read-only."""
    return np.stack(prepare(generated)[1])


@pytest.fixture
def real() -> Path:
    """PTB-XL, or a part of it."""
    return require_real("ptbxl")


@pytest.fixture
def partition(tmp_path) -> Partition:
    write_partition(tmp_path / "here", manifest_of(), index_of(), windows_of())
    return Partition.open(tmp_path / "here")
