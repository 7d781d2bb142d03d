"""The federations of a study are prepared from their data sets, each once."""

import inspect
from importlib import import_module
from typing import get_args

import pytest

from data_partitions.sources import DatasetReader
from data_partitions.sources.demo import dataset
from server_app.study.design import DatasetSpec, read_study
from server_app.study.federations import Federations

DATASETS = get_args(DatasetSpec.model_fields["dataset"].annotation)
STUDY = {"methods": ["mask"], "seeds": [0], "data": {"ecg": {"dataset": "demo"}}}


def test_the_demo_is_generated_and_prepared_once(tmp_path, monkeypatch):
    generated = []

    def write_few(out, **settings):
        generated.append(out)
        return original(out, **{**settings, "patients": 40})

    original = dataset.write_source
    monkeypatch.setattr("server_app.study.federations.write_source", write_few)
    study = read_study(STUDY | {"partition": {"split": "iid", "sites": 2}})
    federations = Federations(study, tmp_path, {}, lambda line: None)
    first = federations.open(study.scenarios[0], 0)
    assert len(first.sites) == 2 and first.open_site(0).manifest.dataset == "demo"
    assert federations.open(study.scenarios[0], 0).path == first.path
    assert generated == [tmp_path / "sources" / "demo"]


@pytest.mark.parametrize("name", DATASETS)
def test_every_data_set_of_a_study_has_a_reader(name):
    reader = import_module(f"data_partitions.sources.{name.replace('-', '_')}")
    for function in DatasetReader.__annotations__:
        assert "source" in inspect.signature(getattr(reader, function)).parameters
