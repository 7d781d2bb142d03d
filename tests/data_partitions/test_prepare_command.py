"""The command `condi prepare` of the data sets that have one."""

import json
import re

import numpy as np
import pytest
import typer
from typer.testing import CliRunner

from data_partitions.cli import prepare
from data_partitions.federation import open_federation
from data_partitions.preparation_log import PreparationLog
from data_partitions.sources import demo, ptb_xl
from data_partitions.sources.ptb_xl import LEADS


def run_prepare(*arguments):
    app = typer.Typer()
    app.add_typer(prepare, name="prepare")
    app.callback()(lambda: None)
    return CliRunner().invoke(app, ["prepare", *map(str, arguments)], env={"COLUMNS": "80"})


def assert_failed(result, *parts):
    """Assert that a command failed with one sentence that has all parts."""
    assert result.exit_code == 1
    assert result.stderr.startswith("Error: ") and result.stderr.count("\n") == 1
    assert "Traceback" not in result.output
    for part in parts:
        assert part in result.stderr, result.stderr


@pytest.fixture
def damaged(raw_copy):
    last = raw_copy / "records100/00000/00060_lr.dat"
    last.write_bytes(last.read_bytes()[:100])
    return raw_copy


# --- the command


def test_the_command_writes_a_federation_and_prints_its_table(raw, tmp_path):
    result = run_prepare(
        "ptb-xl", "--source", raw, "--out", tmp_path / "all", "--split", "dirichlet", "--sites", 3,
        "--alpha", 2, "--seed", 4, "--modalities", 8, "--label-rule", "100",
    )  # fmt: skip
    assert result.exit_code == 0, result.output
    federation = open_federation(tmp_path / "all")
    assert federation.info.split == "dirichlet" and federation.info.seed == 4
    partitions = [federation.open_site(site) for site in federation.sites]
    for partition in partitions:
        counts = partition.manifest.windows
        (line,) = [line for line in result.stdout.splitlines() if partition.manifest.site in line]
        cells = re.split(r"\s{2,}", line.strip())
        assert cells[1:5] == [
            *(str(counts[split]) for split in ("train", "val", "test")),
            str(len(set(partition.patient_ids))),
        ]
        assert cells[5].startswith("8 of 12: not ")
    *lines, last = result.stdout.splitlines()
    assert last == f"Written to {tmp_path / 'all'}"
    assert max(map(len, lines)) <= 80
    assert "likelihood 100" in result.stdout


def test_the_command_accepts_names_of_leads(raw, tmp_path):
    result = run_prepare(
        "ptb-xl", "--source", raw, "--out", tmp_path / "all", "--split", "iid", "--sites", 2,
        "--modalities", "II, V5",
    )  # fmt: skip
    assert result.exit_code == 0, result.output
    absent = "No site has I, III, aVR, aVL, aVF, V1, V2, V3, V4, V6: the windows are without."
    assert absent in " ".join(result.stdout.split()) and "all 2" in result.stdout
    manifest = json.loads((tmp_path / "all" / "site-01" / "manifest.json").read_text())
    assert [m["name"] for m in manifest["modalities"] if m["present"]] == ["II", "V5"]
    partition = open_federation(tmp_path / "all").open_site("site-00")
    row = ptb_xl.index(raw, PreparationLog()).set_index("record_id", drop=False).loc[partition.record_ids[0]]
    leads = [LEADS.index("II"), LEADS.index("V5")]
    np.testing.assert_array_equal(partition.read([0])[0][0], ptb_xl.read_record(raw, row)[leads])


@pytest.mark.parametrize(
    ("arguments", "parts"),
    [
        (["--split", "iid"], ["split iid needs the number of sites: give it with --sites"]),
        (["--rate", "250"], ["100 or 500 Hz"]),
        (["--rate", "500"], ["records500 has no record"]),
        (["--modalities", "V9"], ["modality V9 is unknown"]),
        (["--modalities", "99"], ["99 modalities were requested: choose 1 to 12"]),
        (["--split", "iid", "--sites", "1000"], ["1000 sites were requested, but only"]),
    ],
)
def test_the_command_refuses_in_one_sentence(raw, tmp_path, arguments, parts):
    assert_failed(run_prepare("ptb-xl", "--source", raw, "--out", tmp_path / "all", *arguments), *parts)
    assert list(tmp_path.iterdir()) == []


def test_the_command_reports_rejected_records_at_its_end_or_stops_if_strict(damaged, tmp_path):
    arguments = ["ptb-xl", "--source", damaged, "--out", tmp_path / "all", "--split", "iid", "--sites", 2]
    assert_failed(run_prepare(*arguments, "--strict"), "record 60 ", "its signal has 100 bytes")
    assert not (tmp_path / "all").exists()
    result = run_prepare(*arguments)
    assert result.exit_code == 0, result.output
    *_, title, reason, last = result.stdout.splitlines()
    assert title == "Excluded because they cannot be used: 1 record."
    assert reason.startswith("  record 60 ") and last == f"Written to {tmp_path / 'all'}"


def test_the_command_refuses_a_missing_source(tmp_path):
    assert_failed(
        run_prepare("ptb-xl", "--source", tmp_path / "none", "--out", tmp_path / "all"),
        "there is no",
        "ptbxl_database",
    )
    assert list(tmp_path.iterdir()) == []


def test_unusable_paths_are_refused(raw, tmp_path):
    (tmp_path / "file").write_text("unchanged")
    arguments = ["--split", "iid", "--sites", 2]
    out = tmp_path / "file" / "all"
    assert_failed(run_prepare("ptb-xl", "--source", raw, "--out", out, *arguments), f"cannot write to {out}")
    assert_failed(
        run_prepare("ptb-xl", "--source", tmp_path / "file", "--out", tmp_path / "all"), "is a file"
    )
    assert_failed(
        run_prepare("ptb-xl", "--source", raw, "--out", tmp_path / "all", "--modalities", "²"), "² is unknown"
    )
    assert [p.name for p in tmp_path.iterdir()] == ["file"]


def test_the_command_does_not_replace_a_file(raw, tmp_path):
    (tmp_path / "other.txt").write_text("unchanged")
    assert_failed(run_prepare("ptb-xl", "--source", raw, "--out", tmp_path / "other.txt"), "exists already")
    assert (tmp_path / "other.txt").read_text() == "unchanged"


def test_the_demo_command_makes_the_demo_once(tmp_path, monkeypatch):
    monkeypatch.setattr(demo.dataset, "PATIENTS", 90)
    result = run_prepare("demo", "--out", tmp_path / "all")
    assert result.exit_code == 0, result.output
    assert "demo (1), multi-label" in result.stdout
    again = run_prepare("demo", "--out", tmp_path / "all")
    assert again.exit_code == 0 and "The demo exists already: nothing was made." in again.stdout
    (tmp_path / "other").mkdir()
    assert_failed(run_prepare("demo", "--out", tmp_path / "other"), "has no federation.json")
