"""From a description and files to partitions, with `condi prepare dataset.toml`."""

import re

import numpy as np
import pandas as pd
import pytest

from data_partitions.federation import check_same_schema, open_federation
from data_partitions.partition import Partition
from tests.helpers.described import ONE_SITE, open_prepared, prepare, write_description
from tests.helpers.holter_files import RATE, write_holters


@pytest.fixture(scope="module")
def holters(tmp_path_factory):
    return write_holters(tmp_path_factory.mktemp("holters"))


def test_one_site_has_all_recordings_under_its_own_name(holters, tmp_path):
    description = write_description(tmp_path)
    result = prepare(description, holters, tmp_path / "north", *ONE_SITE)
    assert result.exit_code == 0, result.output
    partition = Partition.open(tmp_path / "north")
    assert partition.manifest.site == "north" and partition.manifest.dataset == "holter"
    assert sorted(partition.record_ids) == [f"r{k:02d}-{i:04d}" for k in range(12) for i in range(3)]
    assert set(partition.recording_ids) == {f"r{k:02d}" for k in range(12)}
    assert partition.manifest.windows == {"train": 24, "val": 6, "test": 6}
    for row, (record, recording) in enumerate(
        zip(partition.record_ids, partition.recording_ids, strict=True)
    ):
        (values,), (observed,) = partition.read([row])
        k = int(recording[1:])
        expected = k / 2 + np.arange(10 * RATE) / 1000
        assert observed.all() and record.startswith(recording)
        np.testing.assert_allclose(values[0].ravel(), expected, atol=1e-6)
        np.testing.assert_allclose(values[1].ravel(), -expected, atol=1e-6)
    assert "60 s at the end of recordings are left out, as windows are complete." in result.stdout


def test_labels_covariates_and_windows_without_a_label_are_stored(holters, tmp_path):
    partition = open_prepared(write_description(tmp_path), holters, tmp_path / "north")
    table = pd.read_csv(holters / "labels.csv", dtype=str, keep_default_na=False).set_index("record")
    assert partition.manifest.labels == ("sinus", "afib") and partition.manifest.task == "single-label"
    for row, recording in enumerate(partition.recording_ids):
        text = table["label"][recording]
        expected = {"SR": [1, 0], "N": [1, 0], "AF": [0, 1], "": [np.nan, np.nan]}[text]
        np.testing.assert_array_equal(partition.labels[row], expected)
        assert partition.covariates[row, 0] == float(table["age"][recording])
        assert partition.patient_ids[row] == table["patient"][recording]
    assert np.isnan(partition.labels).any(axis=1).sum() == 3


def test_a_hospital_prepared_alone_equals_its_site_in_a_federation_by_column(holters, tmp_path):
    description = write_description(
        tmp_path, ('patient = "patient"', 'patient = "patient"\nsite = "hospital"')
    )
    result = prepare(description, holters, tmp_path / "all", "--split", "column", "--smallest-site", 1)
    assert result.exit_code == 0, result.output
    federation = open_federation(tmp_path / "all")
    assert federation.sites == ("0", "1")
    alone = open_prepared(description, holters, tmp_path / "alone", "--site", "1")
    at_site = federation.open_site("1")
    for name in ("record_ids", "patient_ids", "splits"):
        np.testing.assert_array_equal(getattr(alone, name), getattr(at_site, name))
    rows = range(len(alone))
    np.testing.assert_array_equal(alone.read(rows)[0], at_site.read(rows)[0])
    assert not check_same_schema([alone.manifest, at_site.manifest])
    result = prepare(description, holters, tmp_path / "no", "--site", "7")
    assert result.exit_code == 1 and 'records no hospital "7": choose from 0, 1' in result.stderr


@pytest.mark.parametrize("split", ["iid", "dirichlet"])
def test_a_federation_to_simulate_has_each_patient_at_one_site(holters, tmp_path, split):
    result = prepare(write_description(tmp_path), holters, tmp_path / "all", "--split", split, "--sites", 2)
    assert result.exit_code == 0, result.output
    federation = open_federation(tmp_path / "all")
    patients = [set(federation.open_site(site).patient_ids) for site in federation.sites]
    assert len(patients) == 2 and not patients[0] & patients[1]
    assert sum(len(federation.open_site(site)) for site in federation.sites) == 36


def test_few_validation_and_test_patients_are_dealt_to_different_sites(holters, tmp_path):
    prepare(write_description(tmp_path), holters, tmp_path / "all", "--split", "iid", "--sites", 3)
    federation = open_federation(tmp_path / "all")
    windows = [federation.open_site(site).manifest.windows for site in federation.sites]
    evaluated = [sum(count > 0 for count in (counts["val"], counts["test"])) for counts in windows]
    assert max(evaluated) == 1


def test_what_is_left_out_is_counted_and_what_cannot_be_used_is_named(tmp_path):
    source = write_holters(tmp_path / "in")
    (source / "r03.dat").write_bytes(b"")
    (source / "r04.hea").unlink()
    table = (source / "labels.csv").read_text()
    (source / "labels.csv").write_text(
        table.replace("r05,p5,N", "r05,p5,noise").replace("r06,p0,SR,46", "r06,p0,SR,?")
    )
    description = write_description(
        tmp_path,
        ("range = [-10, 10]", "range = [0, 10]"),
        ('column = "label"', 'column = "label"\ndrop = "noise"'),
    )
    result = prepare(description, source, tmp_path / "north", *ONE_SITE)
    assert result.exit_code == 0, result.output
    lines = result.stdout.splitlines()
    assert 'Rows that are left out, as they have no file (1): "r04".' in lines
    assert "1 recording is left out, as the label is in task.drop." in lines
    assert 'Covariate age is missing where its text is not a number (1): "?".' in lines
    (named,) = [line for line in lines if "r03" in line]
    assert len(Partition.open(tmp_path / "north")) == 3 * 9
    strict = prepare(description, source, tmp_path / "strict", *ONE_SITE, "--strict")
    assert strict.exit_code == 1 and "r03" in strict.stderr and not (tmp_path / "strict").exists()
    outside = [line for line in lines if "samples of CM5 are outside 0 to 10 mV" in line]
    assert len(outside) == 1 and int(re.match(r"\d+", outside[0])[0]) > 0


def test_patients_whose_label_differs_between_recordings_are_named_where_a_label_is_of_the_patient(
    holters, tmp_path
):
    description = write_description(tmp_path, ('column = "label"', 'column = "label"\nof = "patient"'))
    result = prepare(description, holters, tmp_path / "north", *ONE_SITE)
    assert result.exit_code == 0, result.output
    # Recordings k and k + 6 are of one patient. Their labels agree, as every third label is the same.
    assert len(Partition.open(tmp_path / "north")) == 36
    source = write_holters(tmp_path / "in", recordings=11)
    table = (source / "labels.csv").read_text()
    (source / "labels.csv").write_text(table.replace("r06,p0,SR", "r06,p0,AF"))
    result = prepare(description, source, tmp_path / "south", *ONE_SITE)
    assert "patient p0 has recordings with different labels, where each has one" in result.stdout
    assert "p0" not in Partition.open(tmp_path / "south").patient_ids


def test_windows_are_counted_from_a_column_and_stays_that_end_early_are_left_out(tmp_path):
    source = write_holters(tmp_path / "in", recordings=6)
    rows = (source / "labels.csv").read_text().splitlines()
    columns = ["begin,end", "5,35", "5,14", "0,35", "7.5,35", "5,", "x,35"]
    lines = [f"{row},{more}" for row, more in zip(rows, columns, strict=True)]
    (source / "labels.csv").write_text("\n".join(lines) + "\n")
    description = write_description(
        tmp_path,
        ('length = "10 s"', 'length = "10 s"\nstart = "begin"'),
        ('patient = "patient"', 'patient = "patient"\nend = "end"\ntime-unit = "s"'),
        ('column = "label"', 'column = "label"\nafter = "10 s"'),
    )
    result = prepare(description, source, tmp_path / "north", *ONE_SITE)
    assert result.exit_code == 0, result.output
    partition = Partition.open(tmp_path / "north")
    firsts = {r: partition.read([i])[0][0, 0, 0, 0] for i, r in enumerate(partition.record_ids)}
    assert sorted(firsts) == [f"r{k:02d}-{i:04d}" for k in (0, 2, 3) for i in range(3 if k != 3 else 2)]
    assert firsts["r00-0000"] == pytest.approx(0 + 1.25) and firsts["r03-0000"] == pytest.approx(1.5 + 1.875)
    assert "1 recording of less than 10 s is left out." in result.stdout
    assert "1 recording is left out, as the end is not stated." in result.stdout
    assert 'recording r05 has "x" as begin, where a time was expected' in result.stdout


def test_windows_with_too_little_are_left_out_and_counted(tmp_path):
    source = write_holters(tmp_path / "in", recordings=6)
    samples = np.fromfile(source / "r02.dat", "<i2")
    samples[: 2 * 11 * RATE] = -(2**15)  # 11 s of both leads
    samples.tofile(source / "r02.dat")
    description = write_description(tmp_path, ('length = "10 s"', 'length = "10 s"\nleast-observed = 0.95'))
    result = prepare(description, source, tmp_path / "north", *ONE_SITE)
    assert "2 windows are left out, as less than 95 % of the samples are observed." in result.stdout
    partition = Partition.open(tmp_path / "north")
    assert [r for r in partition.record_ids if r.startswith("r02")] == ["r02-0002"]


def test_recordings_with_the_same_signal_are_at_one_patient(tmp_path):
    source = write_holters(tmp_path / "in")
    (source / "r07.dat").write_bytes((source / "r02.dat").read_bytes())
    result = prepare(write_description(tmp_path), source, tmp_path / "north", *ONE_SITE)
    assert "Duplicate signals: 2 records have 1 signal." in result.stdout
    partition = Partition.open(tmp_path / "north")
    of_both = {partition.patient_ids[i] for i, r in enumerate(partition.recording_ids) if r in ("r02", "r07")}
    assert len(of_both) == 1


@pytest.mark.parametrize(
    ("change", "options", "sentence"),
    [
        (("length", "length"), (), "give --site NAME for one partition, or --split iid --sites 3"),
        (("sinus =", "sinus_rhythm ="), ("--split", "iid"), "split iid needs the number of sites"),
        (('["AF"]', '["AFIB"]'), ONE_SITE, 'line 30: task.classes: 4 rows with "AF" in label, of no class'),
        (('"patient"', '"pateint"'), ONE_SITE, r'table.patient: .*"pateint": did you mean "patient"\?'),
        (("{record}.hea", "{record}.edf"), ONE_SITE, r'no file fits "{record}.edf": .* 25 files \(12 .dat'),
        (('unit = "mV"', 'unit = "mmHg"'), ONE_SITE, '"mV" cannot be converted to "mmHg"'),
        (("[-10, 10]", "[90, 91]"), ONE_SITE, "can be used: .* 36 windows are left out"),
        (("length", "length"), ("--site", "a/b"), "'a/b' cannot be the name of a site"),
        (('length = "10 s"', 'length = "60 s"'), ONE_SITE, "12 recordings have no complete window"),
        (('["CC5", "ch1"]', '["X"]'), (*ONE_SITE, "--modalities", "CC5"), "none of CC5: it has CM5"),
    ],
)  # fmt: skip
def test_refusals_are_one_sentence_and_leave_nothing(holters, tmp_path, change, options, sentence):
    description = write_description(tmp_path, change)
    result = prepare(description, holters, tmp_path / "out" / "north", *options)
    assert result.exit_code == 1
    assert result.stderr.startswith("Error: ") and result.stderr.count("\n") == 1
    assert re.search(sentence, result.stderr), result.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["dataset.toml"]


def test_hospitals_whose_name_cannot_be_that_of_a_folder_are_refused(tmp_path):
    source = write_holters(tmp_path / "in")
    table = (source / "labels.csv").read_text()
    (source / "labels.csv").write_text(table.replace(",1\n", ",A/B\n"))
    description = write_description(
        tmp_path, ('patient = "patient"', 'patient = "patient"\nsite = "hospital"')
    )
    result = prepare(description, source, tmp_path / "all", "--split", "column")
    assert result.exit_code == 1 and "'A/B' cannot be the name of a site" in result.stderr


def test_a_local_file_changes_where_the_files_are_and_not_what_is_agreed(holters, tmp_path):
    source = tmp_path / "in"
    write_holters(source / "ecg")
    (source / "ecg" / "labels.csv").rename(source / "list.csv")
    local = tmp_path / "local.toml"
    local.write_text('[files]\npath = "ecg/{record}.hea"\n[table]\npath = "list.csv"\n')
    description = write_description(tmp_path)
    here = open_prepared(description, source, tmp_path / "a", *ONE_SITE, "--local", local)
    there = open_prepared(description, holters, tmp_path / "b")
    assert here.manifest.description_hash == there.manifest.description_hash
    assert not check_same_schema([here.manifest, there.manifest])
    np.testing.assert_array_equal(here.record_ids, there.record_ids)


def test_a_label_outside_its_range_is_missing_and_counted(holters, tmp_path):
    kind = 'kind = "single-label"\ncolumn = "label"\nclasses = { sinus = ["SR", "N"], afib = ["AF"] }'
    number = 'kind = "regression"\ncolumn = "age"\nname = "age"\nunit = "years"\nrange = [42, 49.5]'
    description = write_description(tmp_path, (kind, number), ('[covariates.age]\nunit = "years"\n', ""))
    result = prepare(description, holters, tmp_path / "north", *ONE_SITE)
    assert "12 windows have no label, as it is outside its range." in result.stdout
    partition = Partition.open(tmp_path / "north")
    assert partition.manifest.label_range == (42, 49.5)
    labelled = np.isfinite(partition.labels[:, 0])
    assert sorted(set(partition.recording_ids[~labelled])) == ["r00", "r01", "r10", "r11"]
    assert sorted(set(partition.labels[labelled, 0])) == list(range(42, 50))
