import os
from pathlib import Path

import numpy as np
import pytest

from data_partitions import DataError
from data_partitions.manifest import Manifest
from data_partitions.preparation_log import PreparationLog
from data_partitions.prepare import prepare_federation
from data_partitions.sources import physionet_2012
from data_partitions.sources.physionet_2012 import VARIABLES, index, read, schema
from tests.helpers.generated_physionet_2012 import format_stay, write_set

ROW = {name: row for row, name in enumerate(VARIABLES)}


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


def assert_refused(function, *parts):
    with pytest.raises(DataError) as error:
        function()
    assert "\n" not in str(error.value)
    for part in parts:
        assert part in str(error.value), error.value


def test_the_schema_makes_a_manifest(source):
    rest = {"site": "a", "windows": {"train": 1, "val": 0, "test": 0}, "made_by": "a test"}
    manifest = Manifest(**schema(source), **rest)
    assert manifest.shape == (37, 48, 1) and manifest.labels == ("survived", "died")
    assert manifest.version == "1.0.0, set-a"


def test_the_index_has_sites_and_outcomes(source):
    table = index(source, PreparationLog(strict=True))
    assert table["record_id"].tolist() == [str(132539 + i) for i in range(12)]
    assert table["site"].tolist() == ["coronary-care", "cardiac-surgery", "medical-icu", "surgical-icu"] * 3
    deaths = [line.split(",")[-1] for line in (source / "Outcomes-a.txt").read_text().split()[1:]]
    assert table["died"].astype(str).tolist() == deaths
    assert (table["died"] + table["survived"] == 1).all() and 0 < table["died"].sum() < 12


def test_an_hour_has_its_last_value_in_any_order_of_lines(source):
    lines = [("00:05", "HR", 70), ("00:59", "HR", 80), ("01:00", "HR", 90), ("47:59", "pH", 7.4)]
    for order in (lines, lines[::-1], [lines[i] for i in (1, 0, 3, 2)]):
        rewrite_stay(source, 132539, order)
        window = read_window(source, 132539)
        assert window.shape == (37, 48, 1) and window.dtype == np.float32
        assert window[ROW["HR"], :2, 0].tolist() == [80, 90]
        assert window[ROW["pH"], 47, 0] == np.float32(7.4)
        assert np.isfinite(window).sum() == 3
    # Of two values at the same minute that of the later line counts; a repeated line changes nothing.
    rewrite_stay(source, 132539, [("02:00", "HR", 60), ("02:00", "HR", 65), ("02:00", "HR", 65)])
    assert read_window(source, 132539)[ROW["HR"], 2, 0] == 65


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
    assert window[ROW["HR"], 0, 0] == 70 and np.isfinite(window).sum() == 1
    assert log.notes == [
        "Dropped because they were measured after 48 h: 1 values.",
        "Dropped because they are outside the plausible range of their variable: pH 1, Temp 1, HR 1.",
    ]


def test_a_stay_without_measurements_is_included_and_counted(source):
    rewrite_stay(source, 132539, [])
    log = PreparationLog(strict=True)
    assert np.isnan(read_window(source, 132539, log)).all()
    assert log.notes == ["Included although nothing was measured in 48 h: 1 stays."]


def test_windows_come_in_the_order_of_the_rows(source):
    table = index(source, PreparationLog()).sample(frac=1, random_state=1)
    windows = list(read(source, table, PreparationLog()))
    for (_, row), window in zip(table.iterrows(), windows, strict=True):
        np.testing.assert_array_equal(window, read_window(source, row["record_id"]))


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


@pytest.mark.parametrize(
    ("line", "sentence"),
    [
        ("03:00,HR", 'line 8: "03:00,HR" is not Time,Parameter,Value'),
        (
            "03:00,HR,fast",
            'line 8: "03:00,HR,fast" is not a time HH:MM, one of the 37 variables and a number',
        ),
        ("3 pm,HR,80", 'line 8: "3 pm,HR,80" is not a time'),
        ("03:00,Cortisol,80", 'line 8: "03:00,Cortisol,80" is not a time HH:MM, one of the 37'),
    ],
)
def test_an_invalid_line_excludes_only_its_stay(source, line, sentence):
    file = source / "set-a/132541.txt"
    file.write_text(format_stay(132541, 1, []) + line + "\n03:00,HR,80\n")
    table, log = index(source, PreparationLog(strict=True)), PreparationLog()
    windows = list(read(source, table, log))
    assert [w is None for w in windows] == [i == 2 for i in range(12)]
    (reason,) = log.rejected
    assert reason.startswith(f"stay 132541, {sentence}")
    assert_refused(lambda: list(read(source, table, PreparationLog(strict=True))), "stay 132541, ", sentence)


def test_the_index_rejects_stays_without_icu_type_or_outcome(source):
    (source / "set-a/132540.txt").write_text("")
    rewrite_stay(source, 132541, [], icu=7)
    outcomes = source / "Outcomes-a.txt"
    outcomes.write_text("".join(x for x in outcomes.open() if not x.startswith("132542,")))
    log = PreparationLog()
    assert len(index(source, log)) == 9
    assert "stay 132540" in log.rejected[0] and "has ICUType none, expected 1 to 4" in log.rejected[0]
    assert "stay 132541" in log.rejected[1] and "has ICUType 7, expected 1 to 4" in log.rejected[1]
    assert log.rejected[2] == "stay 132542 is not in Outcomes-a.txt"


def test_a_file_without_its_header_line_is_refused(source):
    file = source / "set-a/132541.txt"
    file.write_text(file.read_text().removeprefix("Time,Parameter,Value\n"))
    assert_refused(
        lambda: read_window(source, 132541), 'stay 132541 does not begin with "Time,Parameter,Value"'
    )


# --- faults of the data set


def test_a_folder_without_sets_is_refused(tmp_path):
    assert_refused(lambda: index(tmp_path, PreparationLog()), "has neither set-a.tar.gz nor the folder set-a")


def test_invalid_outcomes_are_refused(source):
    outcomes = source / "Outcomes-a.txt"
    text = outcomes.read_text()
    outcomes.write_text(text.replace("In-hospital_death", "Death"))
    assert_refused(
        lambda: index(source, PreparationLog()), "has no column In-hospital_death: it has RecordID"
    )
    outcomes.write_text(text.replace("132540,10,5,8,-1,", "132540,10,5,8,-1,2"))
    assert_refused(
        lambda: index(source, PreparationLog()), "stay 132540 has In-hospital_death 2", "expected 0 or 1"
    )
    outcomes.unlink()
    assert_refused(
        lambda: index(source, PreparationLog()), "there is no", "Outcomes-a.txt, which has the outcomes"
    )


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


def test_set_a_has_known_counts():
    folders = [os.environ.get("CONDI_DATA"), Path(__file__).parents[3] / "shared" / "data"]
    sources = [Path(p) / "physionet2012" for p in folders if p and (Path(p) / "physionet2012").exists()]
    if not sources:
        pytest.skip(
            "the challenge data are not available: set CONDI_DATA to the folder that has physionet2012/"
        )
    log = PreparationLog()
    table = index(sources[0], log)
    assert len(table) == 4000 and table["died"].sum() == 554 and log.rejected == []
    assert table["site"].value_counts().to_dict() == {
        "medical-icu": 1481,
        "surgical-icu": 1068,
        "cardiac-surgery": 874,
        "coronary-care": 577,
    }
    windows = np.stack(list(read(sources[0], table, log)))
    assert windows.shape == (4000, 37, 48, 1) and log.rejected == []
    assert np.isnan(windows).mean() == pytest.approx(0.7976, abs=0.0001), "about 80 % of hours are empty"
    heart_rate = windows[:, ROW["HR"]]
    assert np.nanmedian(heart_rate) == 86 and 90 > np.nanmean(heart_rate) > 85
