"""Real ECGs of other hospitals by their descriptions: MIT-BIH and LUDB."""

from collections import Counter

import numpy as np
import pytest
import wfdb
from typer.testing import CliRunner

from data_partitions.description.reading import read_description
from data_partitions.federation import open_federation
from data_partitions.partition import Partition
from data_partitions.preparation_log import PreparationLog
from data_partitions.prepare import prepare_site
from data_partitions.sources.described.reader import DescribedDataset
from server_app.cli import app
from tests.helpers.mit_bih import write_mit_bih
from tests.helpers.real_data import require_real

pytestmark = pytest.mark.real

LEADS = ("I", "II", "III", "aVR", "aVL", "aVF", "V1", "V2", "V3", "V4", "V5", "V6")
LUDB = """
[dataset]
name = "ptb-xl"
[files]
format = "wfdb"
path = "{record}.hea"
gains = "none"
[window]
length = "10 s"
patch = "0.1 s"
[signals.I]
unit = "mV"
rate = 500
scale = 0.001
"""


def test_mit_bih_has_a_window_with_a_ventricular_beat_where_the_annotator_marked_one(tmp_path):
    source = require_real("mitdb")
    result = CliRunner().invoke(
        app,
        ["prepare", str(write_mit_bih(tmp_path)), "--source", str(source), "--out", str(tmp_path / "north")]
        + ["--site", "north"],
    )
    assert result.exit_code == 0, result.output
    partition = Partition.open(tmp_path / "north")
    assert partition.manifest.labels == ("ventricular beat",) and len(partition) == 1800
    assert "56 s at the end of recordings are left out" in result.stdout
    for record in sorted(set(partition.recording_ids)):
        signals, fields = wfdb.rdsamp(str(source / record))
        beats = wfdb.rdann(str(source / record), "atr")
        of_beats = np.array(beats.sample)[np.isin(beats.symbol, ["V", "E"])] // 3600
        rows = np.flatnonzero(partition.recording_ids == record)
        assert np.flatnonzero(partition.labels[rows, 0]).tolist() == sorted(set(of_beats[of_beats < 180]))
        values, observed = partition.read(rows)
        assert observed.all()
        # Leads swap places in record 114; the other lead is V1, V2 or V5.
        for position, lead in enumerate(fields["sig_name"]):
            modality = 0 if lead == "MLII" else 1
            expected = signals[: 180 * 3600, position].reshape(180, -1)
            np.testing.assert_allclose(values[:, modality].reshape(180, -1), expected, atol=1e-6)


def test_mit_bih_becomes_three_sites_that_share_no_patient(tmp_path):
    source = require_real("mitdb")
    command = [
        "prepare",
        str(write_mit_bih(tmp_path)),
        "--source",
        str(source),
        "--out",
        str(tmp_path / "all"),
    ]
    result = CliRunner().invoke(app, [*command, "--split", "iid", "--sites", "3"])
    assert result.exit_code == 0, result.output
    federation = open_federation(tmp_path / "all")
    sites = [federation.open_site(site) for site in federation.sites]
    assert sorted(Counter(p for site in sites for p in set(site.patient_ids)).values()) == [1] * 10
    assert sum(map(len, sites)) == 1800
    assert sum(site.manifest.windows["test"] > 0 for site in sites) == 2


@pytest.mark.parametrize("digital", [True, False])
def test_only_the_digital_samples_of_ludb_obey_the_identities_of_limb_leads(tmp_path, digital):
    source = require_real("ludb")
    text = LUDB + "".join(f'[signals.{lead}]\nlike = "I"\n' for lead in LEADS[1:])
    if not digital:
        text = text.replace('gains = "none"', "").replace("scale = 0.001", "")
    (tmp_path / "dataset.toml").write_text(text)
    reader = DescribedDataset(read_description(tmp_path / "dataset.toml"))
    log = PreparationLog()
    partition = prepare_site(reader, source, tmp_path / "ludb", "ludb", log=log)
    assert len(partition) == 36 and not log.rejected
    values, observed = partition.read(range(36))
    assert observed.all() and 0.2 < np.abs(values).max() < 10
    lead = {name: values[:, i].reshape(36, -1) for i, name in enumerate(LEADS)}
    for name, expected in (
        ("III", lead["II"] - lead["I"]),
        ("aVR", -(lead["I"] + lead["II"]) / 2),
        ("aVL", (lead["I"] - lead["III"]) / 2),
        ("aVF", (lead["II"] + lead["III"]) / 2),
    ):
        deviations = np.abs(lead[name] - expected).max(axis=1) / lead[name].std(axis=1)
        if digital:
            assert deviations.max() < 0.05  # rounded to 1 µV
        else:
            assert np.median(deviations) > 0.3
