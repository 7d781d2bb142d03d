"""Every data set from its files to the closing table: `condi prepare`, then both phases."""

import json
import math

import pytest
from typer.testing import CliRunner

from data_partitions.federation import open_federation
from data_partitions.sources import demo
from server_app.cli import app
from tests.helpers.condi_process import processes_left, run_condi
from tests.helpers.generated_mimic_iv import write_tables
from tests.helpers.generated_physionet_2012 import write_set
from tests.helpers.generated_sleep_edf import write_nights
from tests.helpers.run_settings import as_pairs, without_paths

ICU = {"missingness.points": 0.2, "missingness.gaps": 0.0, "missingness.modality-by-window": 0.0}
DATASETS = {
    # name: (writer, arguments of `condi prepare`, labels, settings)
    "ptb-xl": (lambda path: demo.write_source(path, patients=30), [], "NORM, MI, STTC, CD, HYP", {}),
    "sleep-edf": (
        lambda path: write_nights(path, subjects=5, nights=1, epochs=8),
        ["--sites", 1],
        "W, N1, N2, N3, REM",
        {"imputer.crop": 10},
    ),
    "physionet-2012": (lambda path: write_set(path, stays=50), [], "survived, died", ICU),
    "mimic-iv": (
        lambda path: write_tables(path, stays=60),
        ["--split", "iid", "--sites", 2],
        "survived, died",
        ICU,
    ),
}


@pytest.mark.parametrize("name", [name for name in DATASETS if name != "sleep-edf"])  # the engine has it
def test_from_files_to_the_table(name, tmp_path, run_local, capsys):
    write, arguments, labels, changes = DATASETS[name]
    write(tmp_path / "source")
    command = ["prepare", name, "--source", tmp_path / "source", "--out", tmp_path / "all", *arguments]
    prepared = CliRunner().invoke(app, [str(word) for word in command])
    assert prepared.exit_code == 0, prepared.output
    one_round = {"imputer.rounds": 1, "task.rounds": 1}
    run_local(tmp_path / "all", {"compare-with": "mask", "name": name, **one_round, **changes})
    check_run(capsys.readouterr().out, tmp_path, name, labels)


@pytest.mark.engine
def test_from_files_to_the_table_on_the_command_line(tmp_path, small_settings):
    write, arguments, labels, changes = DATASETS["sleep-edf"]
    write(tmp_path / "source")
    prepared = run_condi(
        "prepare", "sleep-edf", "--source", "source", "--out", "all", *arguments, cwd=tmp_path
    )
    assert prepared.returncode == 0, prepared.stderr
    pairs = as_pairs(without_paths(small_settings({"compare-with": "mask", **changes})))
    completed = run_condi(
        "run", "--federation", "all", "--name", "sleep-edf", "-c", pairs, "--nodes", 2, cwd=tmp_path
    )
    assert completed.returncode == 0, completed.stderr + completed.stdout
    check_run(completed.stdout, tmp_path, "sleep-edf", labels)
    assert not processes_left(tmp_path)


def check_run(output, folder, name, labels):
    """Check the closing table and the scores of the run `name` of the federation `all`, both in `folder`."""
    assert f"Classification of test windows ({labels};" in output
    assert "linear interpolation" in output and "mask: zeros and the mask" in output
    tables = output.split("Imputation of")[1].split("Artefacts:")[0]
    assert max(map(len, tables.splitlines())) < 110
    result = json.loads((folder / "runs" / name / "result.json").read_text())
    sites = list(open_federation(folder / "all").sites)
    assert result["answered"]["imputer"] == {"sites": sites, "failures": {}}
    for pattern, methods in result["imputation"].items():
        for method, metrics in methods.items():
            assert math.isfinite(metrics["rmse"]) and metrics["rmse"] < 5, (pattern, method)
    for method, metrics in result["task"].items():
        assert 0 <= metrics["accuracy"] <= 1, method
