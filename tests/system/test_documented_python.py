"""Blocks of Python in documents run, in their order, in a folder with a run, an ECG and a study."""

import csv
import re
from pathlib import Path

import numpy as np
import pytest
import wfdb

from data_partitions.sources.ptb_xl import LEADS
from server_app.study.long_form import COLUMNS
from tests.helpers.documents import DOCUMENTS, name_of, read_blocks
from tests.helpers.generated_run import schema, write_run
from tests.helpers.inference_inputs import partition
from tests.helpers.run_settings import PROJECT

README = PROJECT / "README.md"
TRAINING = PROJECT / "docs" / "python.md"  # which takes seconds
OTHERS = [
    pytest.param(path, marks=[pytest.mark.slow] * (path == TRAINING), id=name_of(path))
    for path in DOCUMENTS
    if path != README and read_blocks(path, "python")
]
GAP = slice(200, 300)


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """Write what documents read: a run and a site of 12-lead ECGs, the record `ecg`, and `studies/quick`."""
    folder = tmp_path_factory.mktemp("documents")
    leads = schema(rates=(10,) * 12, patches=100, names=LEADS)
    run = write_run(folder / "runs" / "demo", leads)
    (run / "roster.json").write_text('{"hospital-0": {"manifest": {"windows": {"test": 37}}}}')
    partition(folder / "federation" / "hospital-0", site="hospital-0", windows_schema=leads)
    signal = np.random.default_rng(0).standard_normal((1000, 12)).cumsum(0) / 10
    signal[GAP, 3] = np.nan
    wfdb.wrsamp("ecg", 100, ["mV"] * 12, list(LEADS), signal, fmt=["16"] * 12, write_dir=str(folder))
    (folder / "studies" / "quick").mkdir(parents=True)
    with open(folder / "studies" / "quick" / "results.csv", "w", newline="", encoding="utf-8") as file:
        table = csv.DictWriter(file, COLUMNS, restval="")
        table.writeheader()
        row = {"part": "task", "metric": "auroc", "statistic": "estimate", "missingness": "points=0.5"}
        for method in ("condi", "mask"):
            table.writerows(
                row | {"method": method, "seed": seed, "value": 0.8 + seed / 10} for seed in (0, 1)
            )
    return folder


def run_blocks(path: Path) -> dict[str, object]:
    """Run the blocks of Python of a document one after the other, and return its names."""
    names: dict[str, object] = {"__name__": "__document__"}
    for block in read_blocks(path, "python"):
        exec(compile(block.text, str(path), "exec"), names)
    return names


@pytest.mark.parametrize("path", OTHERS)
def test_blocks_of_python_run(path, folder, monkeypatch):
    monkeypatch.chdir(folder)
    run_blocks(path)


def test_the_example_of_the_readme_is_short_and_completes_the_gap_of_an_ecg(folder, monkeypatch, capsys):
    (block,) = read_blocks(README, "python")
    assert len([line for line in block.text.splitlines() if line]) <= 11
    monkeypatch.chdir(folder)
    names = run_blocks(README)
    printed = capsys.readouterr().out
    for label in ("well", "ill"):
        assert re.search(rf"{label}: 0\.\d\d ± \d\.\d\d", printed), printed
    gap = np.isnan(names["values"])
    assert gap.sum() == 100 and (names["low"] < names["high"])[gap].all()
    np.testing.assert_array_equal(names["low"][~gap], names["high"][~gap])
