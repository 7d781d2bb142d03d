"""Descriptions of open data sets, in the form of `dataset.toml`."""

from pathlib import Path

from data_partitions.description.reading import read_description
from data_partitions.description.sections import Description

FOLDER = Path(__file__).parent


def read_shipped_description(name: str) -> Description:
    """Read the description of an open data set, such as "sleep-edf"."""
    return read_description(FOLDER / f"{name}.toml")
