import numpy as np
import pytest

from data_partitions import DataError
from data_partitions.assignment import assign_patients
from data_partitions.federation import open_federation
from data_partitions.preparation_log import PreparationLog
from data_partitions.prepare import prepare_federation
from data_partitions.sources import ptb_xl
from data_partitions.sources.ptb_xl import LEADS, SUPERCLASSES

SPLIT_SITES = [("natural", 2), ("iid", 3), ("dirichlet", 3)]


def partitions_of(federation):
    return [federation.open_site(site) for site in federation.sites]


@pytest.mark.parametrize(("split", "sites"), SPLIT_SITES)
def test_every_record_is_at_one_site_and_every_patient_in_one_split_and_site(raw, tmp_path, split, sites):
    federation = prepare_federation(ptb_xl, raw, tmp_path / "all", split=split, sites=sites)
    assert len(federation.sites) == sites
    index = ptb_xl.index(raw, PreparationLog())
    index = index[index[list(SUPERCLASSES)].any(axis=1)].set_index("record_id")
    record_ids, site_of_patient, split_of_patient = [], {}, {}
    for partition in partitions_of(federation):
        record_ids += partition.record_ids.tolist()
        for patient, name in zip(partition.patient_ids, partition.splits, strict=True):
            assert site_of_patient.setdefault(patient, partition.manifest.site) == partition.manifest.site
            assert split_of_patient.setdefault(patient, name) == name
        rows = index.loc[partition.record_ids]
        np.testing.assert_array_equal(partition.labels, rows[list(SUPERCLASSES)])
        assert partition.splits.tolist() == rows["split"].tolist()
        row = rows.iloc[-1].rename(None)
        row["record_id"] = rows.index[-1]
        values, observed = partition.read([len(rows) - 1])
        assert observed.all()
        np.testing.assert_array_equal(values[0], ptb_xl.read_record(raw, row))
    assert sorted(record_ids) == sorted(index.index)


def test_equal_seeds_give_equal_federations(raw, tmp_path):
    fingerprints = []
    for name in ("a", "b"):
        federation = prepare_federation(
            ptb_xl, raw, tmp_path / name, split="dirichlet", sites=3, modalities=4, seed=5
        )
        fingerprints.append([partition.fingerprint() for partition in partitions_of(federation)])
    assert fingerprints[0] == fingerprints[1]


def test_sites_have_different_leads(raw, tmp_path):
    federation = prepare_federation(ptb_xl, raw, tmp_path / "all", split="iid", sites=3, modalities=4)
    leads_of_site = [[m.name for m in p.manifest.modalities if m.present] for p in partitions_of(federation)]
    assert [len(names) for names in leads_of_site] == [4, 4, 4]
    assert set().union(*leads_of_site) == set(LEADS)
    files = sorted(p.stem for p in (federation.path / "site-00" / "values").iterdir())
    assert files == sorted(leads_of_site[0])


def test_records_without_labels_are_excluded_and_counted(raw_copy, tmp_path):
    table = raw_copy / "ptbxl_database.csv"
    lines = table.read_text().replace("{'NORM': 100.0, ", "{").splitlines(keepends=True)
    table.write_text("".join(lines))
    calls = []
    log = PreparationLog(progress=lambda *call: calls.append(call))
    index = ptb_xl.index(raw_copy, PreparationLog())
    empty = 60 - len(index)
    assert empty > 5
    federation = prepare_federation(
        ptb_xl,
        raw_copy,
        tmp_path / "all",
        split="iid",
        sites=2,
        log=log,
    )
    assert log.notes == [f"Excluded because they have none of the superclasses: {empty} records."]
    assert sum(len(partition) for partition in partitions_of(federation)) == 60 - empty
    assert calls == [("writing windows", i + 1, 60 - empty) for i in range(60 - empty)]


def test_single_label_federations_have_one_label_per_window(raw, tmp_path):
    options = {"task": "single-label", "label_rule": "100"}
    federation = prepare_federation(ptb_xl, raw, tmp_path / "all", split="iid", sites=2, **options)
    for partition in partitions_of(federation):
        assert partition.manifest.task == "single-label"
        assert (partition.labels.sum(axis=1) == 1).all()
        assert "label_rule=100" in partition.manifest.made_by


@pytest.fixture
def damaged(raw_copy):
    last = raw_copy / "records100/00000/00060_lr.dat"
    last.write_bytes(last.read_bytes()[:100])
    return raw_copy


def test_strict_stops_at_a_damaged_record_and_leaves_no_files(damaged, tmp_path):
    (tmp_path / "out").mkdir()
    options = {"split": "iid", "sites": 2, "log": PreparationLog(strict=True)}
    with pytest.raises(DataError, match="record 60 .*its signal has 100 bytes"):
        prepare_federation(ptb_xl, damaged, tmp_path / "out" / "all", **options)
    assert list((tmp_path / "out").iterdir()) == []


def test_a_damaged_record_is_excluded_and_the_others_are_unchanged(raw, damaged, tmp_path):
    log = PreparationLog()
    complete = prepare_federation(ptb_xl, raw, tmp_path / "complete", split="iid", sites=2)
    reduced = prepare_federation(ptb_xl, damaged, tmp_path / "reduced", split="iid", sites=2, log=log)
    (reason,) = log.rejected
    assert reason.startswith("record 60 ")
    for before, after in zip(partitions_of(complete), partitions_of(reduced), strict=True):
        retained = before.record_ids != "60"
        np.testing.assert_array_equal(after.record_ids, before.record_ids[retained])
        np.testing.assert_array_equal(after.labels, before.labels[retained])
        for a, b in zip(after.read(range(len(after))), before.read(np.flatnonzero(retained)), strict=True):
            np.testing.assert_array_equal(a, b)
        assert sum(after.manifest.windows.values()) == retained.sum()
    assert sum(map(len, partitions_of(reduced))) == sum(map(len, partitions_of(complete))) - 1


def test_a_site_without_usable_records_is_excluded_and_noted(raw_copy, tmp_path):
    complete = prepare_federation(ptb_xl, raw_copy, tmp_path / "complete", split="iid", sites=3)
    for record in complete.open_site(1).record_ids:
        (raw_copy / f"records100/00000/{int(record):05d}_lr.dat").write_text(
            record
        )  # different contents, so that none are duplicates
    log = PreparationLog()
    reduced = prepare_federation(ptb_xl, raw_copy, tmp_path / "reduced", split="iid", sites=3, log=log)
    assert reduced.sites == ("site-00", "site-02")
    assert open_federation(tmp_path / "reduced").sites == reduced.sites
    note = 'A site is excluded: none of the records of site "site-01" can be used.'
    assert note in log.notes and len(log.rejected) == len(complete.open_site(1))
    for record in range(1, 61):
        (raw_copy / f"records100/00000/{record:05d}_lr.dat").write_text(str(record))
    with pytest.raises(DataError, match="no record of any site can be used; the first of 58 ") as refused:
        prepare_federation(ptb_xl, raw_copy, tmp_path / "none", split="iid", sites=3)
    assert len(str(refused.value)) < 300, "however many records fail"
    assert not (tmp_path / "none").exists()


def test_an_existing_directory_is_refused_before_anything_is_read(tmp_path):
    (tmp_path / "all").mkdir()
    with pytest.raises(DataError, match="all exists already"):
        prepare_federation(ptb_xl, tmp_path / "no source", tmp_path / "all")
    assert list(tmp_path.iterdir()) == [tmp_path / "all"]


def test_ptb_xl_has_four_hospitals(real, tmp_path):
    log = PreparationLog()
    federation = prepare_federation(ptb_xl, real, tmp_path / "all", log=log)
    partitions = partitions_of(federation)
    patients = [set(partition.patient_ids) for partition in partitions]
    assert sum(map(len, patients)) == len(set().union(*patients))
    assert min(partition.manifest.windows["train"] for partition in partitions) >= 10
    if len(ptb_xl.index(real, PreparationLog())) != 378:
        pytest.skip("another part of PTB-XL than the numbers are for")
    assert federation.sites == tuple(f"hospital-{i}" for i in range(4))
    assert [len(partition) for partition in partitions] == [190, 127, 15, 46]
    assert "Excluded because they have none of the superclasses: 10 records." in log.notes


@pytest.mark.parametrize("split", ["natural", "iid", "dirichlet"])
def test_duplicates_in_ptb_xl_are_at_one_site(real, split):
    index = ptb_xl.index(real, PreparationLog())
    site_of_patient = assign_patients(index, 3, split, 0, labels=SUPERCLASSES)
    site = index.set_index("record_id")["patient_id"].map(site_of_patient)
    assert site.value_counts().min() >= 10
    for a, b in (("456", "457"), ("459", "460")):
        if a in site.index:
            assert site[a] == site[b]
