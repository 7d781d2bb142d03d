"""PhysioNet/CinC Challenge 2012 (Silva et al., Computing in Cardiology 39:245-248, 2012).

The windows are the first 48 h of ICU stays, the label is in-hospital death. The stays are read by the
description `physionet-2012.toml`; here is the download.
"""

from pathlib import Path

from data_partitions.descriptions import read_shipped_description
from data_partitions.download import fetch_physionet
from data_partitions.preparation_log import PreparationLog
from data_partitions.sources.described.reader import DescribedDataset

_DATASET = DescribedDataset(read_shipped_description("physionet-2012"))
schema, index, read = _DATASET.schema, _DATASET.index, _DATASET.read
index_key, pass_key = _DATASET.index_key, _DATASET.pass_key


def download(out: str | Path, log: PreparationLog, **_) -> None:
    """Fetch sets a, b and c with their outcomes (about 25 MB)."""
    names = [name for letter in "abc" for name in (f"set-{letter}.tar.gz", f"Outcomes-{letter}.txt")]
    fetch_physionet("challenge-2012/1.0.0", names, out, log)
