"""Nights of a sleep laboratory: staged with the signals that the model was trained on, or not at all."""

import numpy as np
import pandas as pd
import pytest

from condi_core.windows import Schema
from data_partitions.descriptions import read_shipped_description
from data_partitions.manifest import Manifest
from data_partitions.sources.described.schema import manifest_fields
from tests.helpers.edf_files import EdfSignal, write_edf_file
from tests.helpers.generated_run import write_run

SLEEP_EDF = ("EEG Fpz-Cz", "EEG Pz-Oz", "EOG horizontal", "Resp oro-nasal", "EMG submental")


@pytest.fixture(scope="module")
def stages_run(tmp_path_factory):
    """Return a run with random weights on the windows of Sleep-EDF."""
    fields = manifest_fields(read_shipped_description("sleep-edf"))
    manifest = Manifest(site="north", windows={"train": 0, "val": 0, "test": 0}, made_by="", **fields)
    schema = Schema.model_validate(manifest.schema_fields())
    return write_run(tmp_path_factory.mktemp("stages") / "run", schema)


def write_night(file, names, seconds=90, rates=(100, 100, 100, 1, 1)):
    rng = np.random.default_rng(0)
    signals = [
        EdfSignal(
            name,
            rng.integers(-900, 900, seconds * rate),
            rate,
            "uV" if rate > 1 or "EMG" in name else "",
            ("-500", "500"),
        )
        for name, rate in zip(names, rates, strict=True)
    ]
    return write_edf_file(file, signals)


def test_a_night_with_the_names_of_the_data_set_is_staged_by_windows(tmp_path, call, stages_run):
    write_night(tmp_path / "night.edf", SLEEP_EDF)
    out = tmp_path / "p.csv"
    code, output = call("predict", tmp_path / "night.edf", out, "--samples", 0, model=stages_run)
    assert code == 0, output
    table = pd.read_csv(out, keep_default_na=False)
    assert list(table["window"]) == [0, 1, 2] and set(table["missing modalities"]) == {""}
    np.testing.assert_allclose(table[["W", "N1", "N2", "N3", "REM"]].sum(axis=1), 1, atol=1e-5)


@pytest.mark.parametrize(
    "names",
    [
        ("C3-M2", "C4-M1", "E1-M2", "Resp oro-nasal", "Chin"),
        ("C3-M2", "C4-M1", "E1-M2", "Resp oro-nasal", "EMG submental"),
        ("C3-M2", "C4-M1", "EOG horizontal", "Resp oro-nasal", "EMG submental"),
        ("EEG Fpz", "EEG Pz-Oz 2", "EOG horizontal", "Resp oro-nasal", "EMG submental"),
    ],
)
@pytest.mark.parametrize("options", [(), ("--keep-unknown",)])
def test_no_night_is_staged_without_eeg(tmp_path, call, stages_run, names, options):
    write_night(tmp_path / "night.edf", names)
    for command in ("predict", "impute"):
        code, output = call(command, tmp_path / "night.edf", tmp_path / command, *options, model=stages_run)
        assert code == 1 and "lacks EEG Fpz-Cz, EEG Pz-Oz" in output and "--local" in output, output
        assert "--keep-unknown" not in output.partition("skipped")[2]
    consent = ("--allow-absent", "--keep-unknown", "--samples", 0)
    code, output = call("predict", tmp_path / "night.edf", tmp_path / "p.csv", *consent, model=stages_run)
    missing = pd.read_csv(tmp_path / "p.csv")["missing modalities"]
    assert code == 0 and missing.str.startswith("EEG Fpz-Cz EEG Pz-Oz").all()


def test_a_laboratory_states_its_derivations(tmp_path, call, stages_run):
    write_night(tmp_path / "night.edf", ("C3", "M2", "EOG left", "Flow", "Chin"))
    (tmp_path / "site.toml").write_text(
        '[signals."EEG Fpz-Cz"]\nchannels = [["C3", "-", "M2"]]\n[signals.EOG]\nchannels = ["EOG left"]\n'
        '[signals.Resp]\nchannels = ["Flow"]\n[signals.EMG]\nchannels = ["Chin"]\nfile-unit = "uV"\n'
    )
    local = ("--local", tmp_path / "site.toml")
    code, output = call("impute", tmp_path / "night.edf", tmp_path / "out", *local, model=stages_run)
    assert code == 0 and "differences of channels are not completed: EEG Fpz-Cz" in output, output
    out = tmp_path / "p.csv"
    code, output = call("predict", tmp_path / "night.edf", out, "--samples", 0, *local, model=stages_run)
    assert code == 0 and "completed" not in output, output
    assert set(pd.read_csv(out)["missing modalities"]) == {"EEG Pz-Oz"}
