"""The worked examples of docs/own-data.md run as they are written, on fewer patients."""

import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from typer.testing import CliRunner

from client_app.app import app as client_app
from condi_core.config import RunConfig
from data_partitions.federation import open_federation
from data_partitions.partition import Partition
from examples import generate
from server_app.app import coordinate
from server_app.cli import app
from tests.helpers.local_grid import LocalGrid

PROJECT = Path(__file__).parents[2]
GUIDE = PROJECT / "docs" / "own-data.md"


@pytest.fixture
def files(tmp_path, monkeypatch):
    """The folder of the commands, with the examples in it and the generators for few patients."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "examples").symlink_to(PROJECT / "examples")
    monkeypatch.setattr(generate, "HOLTER_PATIENTS", 24)
    monkeypatch.setattr(generate, "WARD_PATIENTS", 24)
    monkeypatch.setattr(generate, "SLEEP_PATIENTS", 9)
    monkeypatch.setattr(generate, "EPOCHS", 8)
    return tmp_path / "files"


def condi(arguments: str) -> str:
    result = CliRunner().invoke(app, arguments.split())
    assert result.exit_code == 0, result.output
    return result.output


def read_all(partition: Partition) -> np.ndarray:
    """Return all windows `(window, modality, patch, sample)`, NaN where nothing was observed."""
    values, observed = partition.read(np.arange(len(partition)))
    return np.where(observed, values, np.nan)


def commands_of(example: str) -> list[str]:
    """Return the `condi prepare` commands of an example in the guide."""
    text = GUIDE.read_text(encoding="utf-8").replace("\\\n", " ")
    return re.findall(rf"^condi (prepare examples/{example}/.*)$", text, re.M)


def prepare(example: str) -> list[str]:
    for command in commands_of(example):
        files, *_ = re.split(" --(?:site|split|out) ", command.removeprefix("prepare "))
        assert "ready: condi prepare examples/" in condi(f"dataset check {files}")
    outputs = [condi(command) for command in commands_of(example)]
    hashes = re.findall(r"has the hash ([0-9a-f]{12})", "".join(outputs))
    assert len(hashes) == len(outputs) > 0 and len(set(hashes)) == 1, outputs
    return outputs


def test_holter_records_of_two_hospitals_are_trained_on_and_predicted(files, small_settings):
    generate.write_holter(files / "holter")
    _, south = prepare("holter")
    assert "converted from uV to mV" in south and "500 Hz to 250 Hz" in south
    partitions = [Partition.open(files.parent / "holter" / site) for site in ("north", "south")]
    assert [len(p) for p in partitions] == [72, 72]
    spreads = [np.nanstd(read_all(p), axis=(0, 2, 3)) for p in partitions]
    np.testing.assert_allclose(spreads[0], spreads[1], rtol=0.2)

    nodes = [
        {"data": str(p.path), "cache": str(files / "cache"), "registered": p.manifest.site}
        for p in partitions
    ]
    settings = small_settings(
        {"output": "runs", "name": "first", "min-sites": 2, "method": "mask", "task.rounds": 1}
    )
    run = coordinate(LocalGrid(client_app, nodes, settings), RunConfig.from_flat(settings))
    assert (run.path / "dataset.toml").exists()
    condi(
        "predict --model runs/first --data files/holter/south/records --map examples/holter/dataset.toml "
        "--local examples/holter/south.toml --resample --out predictions.csv"
    )
    assert len(pd.read_csv("predictions.csv")) == 72
    by_recording = pd.read_csv("predictions-recordings.csv")
    assert len(by_recording) == 24 and (by_recording["windows"] == 3).all()


def test_stays_of_a_ward_that_writes_its_files_in_another_way_have_the_same_windows(files):
    generate.write_ward(files / "ward")
    prepare("ward")
    partitions = [Partition.open(Path("ward") / site) for site in ("north", "south")]
    for partition in partitions:
        assert len(partition) == 24
        means = np.nanmean(read_all(partition), axis=(0, 2, 3))
        np.testing.assert_allclose(means, [85, 96, 37.24], atol=1)


def test_nights_of_a_laboratory_become_a_federation(files):
    generate.write_sleep(files / "sleep")
    prepare("sleep")
    federation = open_federation("sleep")
    sites = [federation.open_site(name) for name in federation.sites]
    assert sum(len(site) for site in sites) == 9 * 8
    assert sites[0].manifest.labels == ("wake", "sleep", "REM")
    # C3 - M2 is 1.2 times the generated wave of 40 uV, with noise of 8 uV on both
    spread = np.nanstd(np.concatenate([read_all(site)[:, 0] for site in sites]))
    assert spread == pytest.approx(np.hypot(1.2 * 40 / np.sqrt(2), 8 * np.sqrt(2)), rel=0.05)
