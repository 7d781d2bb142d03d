"""MIT-BIH as a hospital's own files: described, prepared, trained on, and a held record completed."""

import csv
import json
import shutil

import numpy as np
import pytest
import wfdb
from typer.testing import CliRunner

from data_partitions.federation import open_federation
from server_app.cli import app
from tests.helpers.mit_bih import write_mit_bih
from tests.helpers.real_data import require_real

HELD_RECORD = "231"
GAP = slice(20_000, 21_000)  # samples of MLII that are removed from the held record


def run_condi(*words):
    result = CliRunner().invoke(app, [str(word) for word in words], env={"COLUMNS": "200"})
    assert result.exit_code == 0, result.output
    return result


def write_held_record(folder, real):
    """Write two minutes of the held record, with its leads in the other order and a gap in one."""
    record = wfdb.rdrecord(str(real / HELD_RECORD), sampto=43_200)
    samples = record.p_signal[:, ::-1].copy()
    samples[GAP, 1] = np.nan
    folder.mkdir()
    wfdb.wrsamp(
        HELD_RECORD,
        record.fs,
        record.units,
        record.sig_name[::-1],
        samples,
        fmt=["16", "16"],
        adc_gain=[200, 200],
        baseline=[0, 0],
        write_dir=str(folder),
    )
    return samples


@pytest.mark.real
def test_mit_bih_is_trained_at_three_sites_and_a_held_record_is_completed_and_classified(tmp_path, run_local):
    real = require_real("mitdb")
    shutil.copytree(real, tmp_path / "in", ignore=shutil.ignore_patterns(f"{HELD_RECORD}.*"))
    shares = 'of = "window"\n[split]\nshares = { train = 0.4, val = 0.2, test = 0.4 }'
    description = write_mit_bih(
        tmp_path, ('length = "10 s"', 'length = "10 s"\ntake = "random:12"'), ('of = "window"', shares)
    )
    command = ["prepare", description, "--source", tmp_path / "in", "--out", tmp_path / "all"]
    run_condi(*command, "--split", "iid", "--sites", 3)
    federation = open_federation(tmp_path / "all")
    assert sum(len(federation.open_site(site)) for site in federation.sites) == 9 * 12
    directory, _ = run_local(tmp_path / "all", {"name": "beats", "compare-with": "mask"}, nodes=3)
    scores = json.loads((directory.path / "result.json").read_text())
    assert np.isfinite(scores["task"]["condi"]["auroc"])

    samples = write_held_record(tmp_path / "held", real)
    (tmp_path / "local.toml").write_text('[signals.V]\nchannels = ["V1", "V2", "V5"]\n')
    use = ["--model", directory.path, "--data", tmp_path / "held", "--local", tmp_path / "local.toml"]
    run_condi("impute", *use, "--out", tmp_path / "completed")
    completed = wfdb.rdrecord(str(tmp_path / "completed" / HELD_RECORD)).p_signal
    measured = ~np.isnan(samples)
    np.testing.assert_array_equal(completed[measured], samples[measured])
    assert np.isfinite(completed).all() and np.abs(completed[GAP, 1]).max() <= 10

    run_condi("predict", *use, "--out", tmp_path / "predicted.csv")
    with open(tmp_path / "predicted.csv", newline="") as file:
        rows = [row for row in csv.DictReader(file) if row["window"]]
    assert [(row["record"], int(row["window"])) for row in rows] == [(HELD_RECORD, i) for i in range(12)]
    assert all(0 <= float(row["ventricular beat"]) <= 1 for row in rows)
