"""The description on which the sites agree travels in the run and in its models."""

import pytest

from client_app.app import app as client_app
from condi_core import load_model
from condi_core.config import RunConfig
from data_partitions.description.reading import read_description
from data_partitions.partition import Partition
from server_app.app import coordinate
from tests.helpers.described import write_description
from tests.helpers.local_grid import LocalGrid
from tests.helpers.site_partition import write_site

LOCAL = """\
[files]
format = "edf"
path = "*.edf"
[table]
path = "t.csv"
record = "id"
[task]
column = "rhythm"
"""


@pytest.fixture
def text(tmp_path):
    return read_description(write_description(tmp_path)).agreed_text()


def test_the_run_and_its_models_have_the_agreed_description(tmp_path, text, small_settings):
    paths = [write_site(tmp_path / f"site-{i}", description=text) for i in range(2)]
    nodes = [{"data": str(p), "cache": str(tmp_path / "cache"), "registered": p.name} for p in paths]
    places = {"output": str(tmp_path / "runs"), "min-sites": 2, "method": "mask", "task.rounds": 1}
    settings = small_settings(places)
    directory = coordinate(LocalGrid(client_app, nodes, settings), RunConfig.from_flat(settings))

    assert load_model(directory.path).schema.description == text
    (tmp_path / "local.toml").write_text(LOCAL)
    written = read_description(directory.path / "dataset.toml", tmp_path / "local.toml")
    assert written.agreed_text() == text and written.files.format == "edf"
    short_hash = Partition.open(paths[0]).manifest.description_hash
    assert f"hash {short_hash}" in (directory.path / "dataset.toml").read_text()
    assert f"version 1, dataset.toml with hash {short_hash}" in (directory.path / "model-card.md").read_text()
