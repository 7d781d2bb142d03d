import hashlib
from pathlib import Path

import numpy as np
import pytest

from data_partitions import DataError
from data_partitions.preparation_log import PreparationLog
from data_partitions.prepare import prepare_federation
from data_partitions.sources import physionet_2012
from data_partitions.sources.physionet_2012 import index, read, schema
from tests.helpers.generated_physionet_2012 import format_stay, write_set
from tests.helpers.real_data import require_real

COLUMNS = ["record_id", "patient_id", "split", "site", "survived", "died"]


@pytest.fixture
def source(tmp_path) -> Path:
    write_set(tmp_path / "source", stays=12)
    return tmp_path / "source"


def rewrite_stay(source, record, lines, icu=3):
    (source / f"set-a/{record}.txt").write_text(format_stay(record, icu, lines))


def read_window(source, record, log=None):
    table = index(source, PreparationLog())
    (window,) = read(source, table[table["record_id"] == str(record)], log or PreparationLog(strict=True))
    return window


def row_of(name):
    return [m["name"] for m in schema("")["modalities"]].index(name)


def hash_windows(source):
    """Return hashes of the index and of all windows."""
    log = PreparationLog(strict=True)
    table = index(source, log)
    text = table[COLUMNS].astype({"survived": int, "died": int}).to_csv(index=False)
    windows = np.stack(list(read(source, table, log)))
    return [hashlib.sha256(content).hexdigest()[:16] for content in (text.encode(), windows.tobytes())]


def assert_refused(function, *parts):
    with pytest.raises(DataError) as error:
        function()
    assert "\n" not in str(error.value)
    for part in parts:
        assert part in str(error.value), error.value


def test_windows_and_splits_are_those_of_the_earlier_reader(tmp_path):
    """The hashes were written by the reader in Python that preceded the description."""
    write_set(tmp_path, stays=80)
    assert hash_windows(tmp_path) == ["296ae0db2da158bd", "a9aa17dcb7cd5dad"]


def test_the_index_has_sites_outcomes_and_covariates(source):
    table = index(source, PreparationLog(strict=True))
    assert table["record_id"].tolist() == [str(132539 + i) for i in range(12)]
    assert table["site"].tolist() == ["coronary-care", "cardiac-surgery", "medical-icu", "surgical-icu"] * 3
    deaths = [line.split(",")[-1] for line in (source / "Outcomes-a.txt").read_text().split()[1:]]
    assert table["died"].astype(int).astype(str).tolist() == deaths
    assert (table["died"] + table["survived"] == 1).all() and 0 < table["died"].sum() < 12
    assert set(table["covariate age"]) == {"64"} and set(table["covariate sex"]) == {"male"}


def test_an_hour_has_its_last_value_in_any_order_of_lines(source):
    lines = [("00:05", "HR", 70), ("00:59", "HR", 80), ("01:00", "HR", 90), ("47:59", "pH", 7.4)]
    for order in (lines, lines[::-1], [lines[i] for i in (1, 0, 3, 2)]):
        rewrite_stay(source, 132539, order)
        window = read_window(source, 132539)
        assert window.shape == (37, 48, 1) and window.dtype == np.float32
        assert window[row_of("HR"), :2, 0].tolist() == [80, 90]
        assert window[row_of("pH"), 47, 0] == np.float32(7.4)
        assert np.isfinite(window).sum() == 3
    # Of two values at the same minute that of the later line counts; a repeated line changes nothing.
    rewrite_stay(source, 132539, [("02:00", "HR", 60), ("02:00", "HR", 65), ("02:00", "HR", 65)])
    assert read_window(source, 132539)[row_of("HR"), 2, 0] == 65


def test_implausible_values_are_dropped_and_counted(source):
    lines = [
        ("00:10", "pH", 735),
        ("00:20", "Temp", 98.6),  # Fahrenheit
        ("00:30", "HR", -70),
        ("00:40", "Weight", -1),  # stands for "not measured", which is no error
        ("00:50", "HR", 70),
        ("48:10", "HR", 80),
    ]
    rewrite_stay(source, 132539, lines)
    log = PreparationLog(strict=True)
    window = read_window(source, 132539, log)
    assert window[row_of("HR"), 0, 0] == 70 and np.isfinite(window).sum() == 1
    assert log.notes[:2] == [
        "Dropped, after the last window, or between windows: 1 value.",
        "Dropped because they are outside the range of their signal: HR 1, pH 1, Temp 1.",
    ]


def test_a_stay_without_measurements_is_included_and_counted(source):
    rewrite_stay(source, 132539, [])
    log = PreparationLog(strict=True)
    assert np.isnan(read_window(source, 132539, log)).all()
    assert log.notes[-1] == "Recordings in which nothing was measured: 1."


def test_archive_and_folder_give_the_same_federation(tmp_path):
    for archive in (False, True):
        write_set(tmp_path / str(archive), stays=80, archive=archive)
    federations = [
        prepare_federation(physionet_2012, tmp_path / str(archive), tmp_path / f"out-{archive}", sites=2)
        for archive in (False, True)
    ]
    for site in federations[0].sites:
        fingerprints = {federation.open_site(site).fingerprint() for federation in federations}
        assert len(fingerprints) == 1


def test_sites_are_icu_types_and_splits_do_not_depend_on_the_assignment(tmp_path):
    write_set(tmp_path / "source", stays=160)
    federation = prepare_federation(physionet_2012, tmp_path / "source", tmp_path / "all")
    assert federation.sites == ("cardiac-surgery", "coronary-care", "medical-icu", "surgical-icu")
    again = prepare_federation(
        physionet_2012, tmp_path / "source", tmp_path / "iid", split="iid", sites=2, seed=7
    )
    splits = [
        {
            r: s
            for site in f.sites
            for p in [f.open_site(site)]
            for r, s in zip(p.record_ids, p.splits, strict=True)
        }
        for f in (federation, again)
    ]
    assert splits[0] == splits[1], "the test set does not depend on seed or partition"
    counts = [list(splits[0].values()).count(s) for s in ("train", "val", "test")]
    assert counts == [112, 24, 24]


# --- faults of single stays


def test_the_index_rejects_stays_without_icu_type_or_outcome(source):
    (source / "set-a/132540.txt").write_text("Time,Parameter,Value\n00:00,HR,80\n")
    rewrite_stay(source, 132541, [], icu=7)
    outcomes = source / "Outcomes-a.txt"
    outcomes.write_text("".join(x for x in outcomes.open() if not x.startswith("132542,")))
    log = PreparationLog()
    assert len(index(source, log)) == 9
    assert log.rejected == [
        "recording 132540 has ICUType none, expected 1, 2, 3, 4",
        "recording 132541 has ICUType 7, expected 1, 2, 3, 4",
    ]
    assert log.notes == ['Files that are left out, as the table has no row of them (1): "132542".']


# --- faults of the data set


def test_invalid_outcomes_are_refused(source):
    outcomes = source / "Outcomes-a.txt"
    text = outcomes.read_text()
    outcomes.write_text(text.replace("In-hospital_death", "Death"))
    assert_refused(
        lambda: index(source, PreparationLog()), 'the table has no column "In-hospital_death"', "RecordID"
    )
    outcomes.write_text(text.replace("132540,10,5,8,-1,", "132540,10,5,8,-1,2"))
    assert_refused(lambda: index(source, PreparationLog()), "in In-hospital_death", "of no class")
    outcomes.unlink()
    assert_refused(lambda: index(source, PreparationLog()), "there is no", "Outcomes-*.txt")


@pytest.mark.parametrize("damage", ["cut", "flipped", "not gzip"])
def test_a_damaged_archive_is_refused(tmp_path, damage):
    write_set(tmp_path, stays=40, archive=True)
    file = tmp_path / "set-a.tar.gz"
    content = bytearray(file.read_bytes())
    if damage == "cut":
        del content[len(content) // 2 :]
    elif damage == "flipped":
        content[len(content) // 2 : len(content) // 2 + 40] = bytes(40)
    else:
        content[:2] = b"no"
    file.write_bytes(content)
    assert_refused(lambda: index(tmp_path, PreparationLog()), "set-a.tar.gz is damaged", "fetch it again")


# --- the real data set


@pytest.mark.real
def test_set_a_has_the_windows_of_the_earlier_reader():
    source = require_real("physionet2012")
    log = PreparationLog()
    table = index(source, log)
    assert len(table) == 4000 and table["died"].sum() == 554 and log.rejected == []
    assert table["site"].value_counts().to_dict() == {
        "medical-icu": 1481,
        "surgical-icu": 1068,
        "cardiac-surgery": 874,
        "coronary-care": 577,
    }
    assert hash_windows(source) == ["eedf8d84ec6e3795", "ca01cec0e08ad3e3"]
