"""Every data set from its files to the closing table: `condi prepare`, then both phases for real."""

import json
import math

import pytest

from data_partitions.federation import open_federation
from data_partitions.sources import demo
from tests.helpers.generated_mimic_iv import write_tables
from tests.helpers.generated_physionet_2012 import write_set
from tests.helpers.generated_sleep_edf import write_nights
from tests.system.test_engines import as_pairs, condi, left_running

ICU = {"missingness.points": 0.2, "missingness.gaps": 0.0, "missingness.modality-by-window": 0.0}
DATASETS = {
    # name: (writer, arguments of `condi prepare`, labels, settings)
    "ptb-xl": (lambda path: demo.make(path, patients=60), [], "NORM, MI, STTC, CD, HYP", {}),
    "sleep-edf": (
        lambda path: write_nights(path, subjects=5, nights=1, epochs=40),
        ["--sites", 1],
        "W, N1, N2, N3, REM",
        {"imputer.crop": 10},
    ),
    "physionet-2012": (lambda path: write_set(path, stays=100), [], "survived, died", ICU),
    "mimic-iv": (
        lambda path: write_tables(path, stays=120),
        ["--split", "iid", "--sites", 2],
        "survived, died",
        ICU,
    ),
}


@pytest.mark.engine
@pytest.mark.parametrize("name", DATASETS)
def test_from_files_to_the_table(name, tmp_path, small_settings):
    write, arguments, labels, changes = DATASETS[name]
    write(tmp_path / "source")
    prepared = condi("prepare", name, "--source", "source", "--out", "all", *arguments, cwd=tmp_path)
    assert prepared.returncode == 0, prepared.stderr
    places = ("federation", "output", "name", "resume")
    settings = small_settings({"compare-with": "mask", **changes})
    settings = {k: v for k, v in settings.items() if k not in places}
    done = condi(
        "run", "--federation", "all", "--name", name, "-c", as_pairs(settings), "--nodes", 2, cwd=tmp_path
    )
    assert done.returncode == 0, done.stderr + done.stdout
    assert f"Classification of test windows ({labels};" in done.stdout
    assert "linear interpolation" in done.stdout and "mask: zeros and the mask" in done.stdout
    tables = done.stdout.split("Imputation of")[1].split("Artefacts:")[0]
    assert max(map(len, tables.splitlines())) < 110
    result = json.loads((tmp_path / "runs" / name / "result.json").read_text())
    sites = list(open_federation(tmp_path / "all").sites)
    assert result["answered"]["imputer"] == {"sites": sites, "failures": {}}
    for kind, methods in result["imputation"].items():
        for method, metrics in methods.items():
            assert math.isfinite(metrics["rmse"]) and metrics["rmse"] < 5, (kind, method)
    for method, metrics in result["task"].items():
        assert 0 <= metrics["accuracy"] <= 1, method
    assert not left_running(tmp_path)
