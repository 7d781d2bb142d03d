"""The federations of a study are prepared from their data sets, each once."""

import inspect
from importlib import import_module
from typing import get_args

import numpy as np
import pytest
import wfdb

from data_partitions.partition import Partition
from data_partitions.sources.demo import dataset
from server_app.study.design import load_study, read_study
from server_app.study.errors import StudyError
from server_app.study.factors import DatasetSpec
from server_app.study.federations import Federations, source_folders
from tests.helpers.described import write_description

DATASETS = get_args(get_args(DatasetSpec.model_fields["dataset"].annotation)[0])
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
    for function in ("schema", "index", "read"):
        assert "source" in inspect.signature(getattr(reader, function)).parameters


@pytest.fixture
def study_folder(tmp_path):
    """A folder with a study of one described data set of 12 patients, and its files."""
    rng, rows = np.random.default_rng(0), ["record,patient,label,age"]
    (tmp_path / "files").mkdir()
    for number in range(12):
        signal = rng.standard_normal((2500, 2))
        wfdb.wrsamp(
            f"r{number}", 250, ["mV"] * 2, ["CC5", "CM5"], signal, fmt=["16"] * 2,
            write_dir=str(tmp_path / "files"),
        )  # fmt: skip
        rows.append(f"r{number},p{number},{('SR', 'AF')[number % 2]},50")
    (tmp_path / "files" / "labels.csv").write_text("\n".join(rows) + "\n")
    write_description(tmp_path)
    (tmp_path / "study.toml").write_text(
        'methods = ["mask"]\nseeds = [0]\n[data.ecg]\nfile = "dataset.toml"\nsource = "files"\n'
        '[partition]\nsplit = "iid"\nsites = 2\n'
    )
    return tmp_path


def open_first(folder, name="study.toml", say=lambda line: None):
    study = load_study(str(folder / name))
    federations = Federations(study, folder / "out", source_folders(study, {}), say)
    federations.require_sources()
    return federations.open(study.scenarios[0], 0)


def test_a_described_data_set_is_prepared_once_for_each_description(study_folder):
    lines = []
    first = open_first(study_folder, say=lines.append)
    assert len(first.sites) == 2 and len(first.open_site(0).manifest.description_hash) == 12
    assert open_first(study_folder).path == first.path and len(lines) == 1
    moved = study_folder / "moved"
    moved.mkdir()
    for name in ("study.toml", "dataset.toml", "files"):
        (study_folder / name).rename(moved / name)
    assert open_first(moved).path.name == first.path.name
    write_description(moved, ("[-10, 10]", "[-5, 5]"), name="other.toml")
    (moved / "study.toml").write_text(
        (moved / "study.toml").read_text().replace("dataset.toml", "other.toml")
    )
    assert open_first(moved).path.name != first.path.name


def test_a_prepared_federation_is_used_where_it_is(study_folder):
    prepared = open_first(study_folder).path
    path = prepared.relative_to(study_folder)
    (study_folder / "again.toml").write_text(
        f'methods = ["mask"]\nseeds = [0, 1]\n[data.ecg]\nfederation = "{path}"\n'
    )
    assert open_first(study_folder, "again.toml").path == prepared
    (scenario,) = load_study(str(study_folder / "again.toml")).scenarios
    assert scenario.label == "ecg, as prepared, missingness none"
    assert Partition.open(prepared / "site-00").manifest.dataset == "holter"


@pytest.mark.parametrize(
    ("old", "new", "reason"),
    [
        (
            'file = "dataset.toml"',
            'file = "nothing.toml"',
            "data ecg: there is no file .*nothing.toml: condi dataset new",
        ),
        ('source = "files"', "", "data ecg: no source is given: write source = ..."),
        ('"files"', '"nowhere"', "data ecg: there is no folder .*nowhere"),
        (
            'file = "dataset.toml"\nsource = "files"',
            'federation = "files"',
            "data.ecg: .*files has no federation.json",
        ),
        (
            'file = "dataset.toml"\nsource = "files"',
            'federation = "x"',
            "data.ecg: there is no federation at .*x",
        ),
    ],
)
def test_data_that_cannot_be_used_are_a_sentence_before_the_first_run(study_folder, old, new, reason):
    text = (study_folder / "study.toml").read_text()
    assert old in text
    text = text.replace(old, new)
    text = text.partition("[partition]")[0] if "federation" in new else text
    (study_folder / "study.toml").write_text(text)
    with pytest.raises(StudyError, match=reason):
        open_first(study_folder)


def test_a_wrong_line_of_a_description_is_named(study_folder):
    write_description(study_folder, ("rate = 250", "rat = 250"))
    with pytest.raises(StudyError, match="dataset.toml, line 19: unknown key `rat`"):
        open_first(study_folder)
