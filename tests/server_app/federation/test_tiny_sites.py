"""A simulation of hospitals of which some have next to no patients."""

import json
import time

import numpy as np
import pytest

from data_partitions.federation import write_federation
from server_app.errors import RunError
from server_app.federation.roster import MAX_LISTED_SITES
from tests.helpers.tiny_federation import manifest, site_data

SIZES = {
    "large": {"train": 8, "val": 4, "test": 4},
    "no-training": {"train": 0, "val": 2, "test": 1},
    "one-window": {"train": 1, "val": 0, "test": 0},
    "no-test": {"train": 4, "val": 2, "test": 0},
}


def write_hospitals(path, sizes=SIZES, task="binary"):
    parts = []
    for seed, (name, windows) in enumerate(sizes.items()):
        index, values = site_data(name, seed=seed, **windows)
        parts.append((manifest(name, windows, task=task, labels=("fast",)), index, values))
    how = {"dataset": "waves", "split": "natural", "seed": 0, "made_by": "a test"}
    return write_federation(path, parts, **how).path


@pytest.mark.slow
def test_a_simulation_ends_whatever_patients_its_hospitals_have(tmp_path, run_local, capsys):
    path = write_hospitals(tmp_path / "f")
    directory, _ = run_local(path, {"compare-with": "pooled,local,pepsy", "task.rounds": 1})
    out = capsys.readouterr().out
    assert "excluded: no-training: it has no training windows: prepare it again" in out
    assert "note: site one-window has only windows with fast in training" in out
    result = json.loads((directory.path / "result.json").read_text())
    assert list(result["task"]) == ["condi", "pooled", "local", "pepsy"]
    assert all(np.isfinite(metrics["auroc"]) for metrics in result["task"].values())
    assert result["answered"]["task-condi"] == {"sites": ["large", "no-test", "one-window"], "failures": {}}
    assert (directory.path / "report.html").exists()


def test_a_named_hospital_without_training_windows_is_refused_with_the_reason(tmp_path, run_local):
    path = write_hospitals(tmp_path / "f")
    with pytest.raises(RunError, match="cannot start: site no-training: it has no training windows"):
        run_local(path, {"sites": "large,no-training"})


def test_a_simulation_of_too_few_hospitals_is_refused_at_once(tmp_path, run_local):
    path = write_hospitals(tmp_path / "f", {"large": SIZES["large"]})
    start = time.monotonic()
    with pytest.raises(RunError, match="at least 2 sites in the federation, but 1 can take part: add sites"):
        run_local(path, {"min-sites": 2, "sites-timeout": 60.0})
    assert time.monotonic() - start < 30


def test_the_same_note_on_many_hospitals_is_one_line(tmp_path, run_local, capsys):
    sizes = {"large": SIZES["large"]} | {f"h{i}": SIZES["one-window"] for i in range(MAX_LISTED_SITES + 1)}
    path = write_hospitals(tmp_path / "f", sizes)
    run_local(path, {"method": "mask", "task.rounds": 1})
    notes = [line for line in capsys.readouterr().out.splitlines() if line.startswith("note: ")]
    assert notes == [
        "note: each of 6 sites, such as h0, has no validation windows: the others choose the weights",
        "note: each of 6 sites, such as h0, has no test windows: it is not scored",
        "note: each of 6 sites, such as h0, has only windows with fast in training",
    ]
