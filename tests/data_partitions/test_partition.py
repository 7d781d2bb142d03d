import json
import os

import numpy as np
import pandas as pd
import pytest
from pydantic import ValidationError

from data_partitions import DataError, values_files
from data_partitions.partition import Partition, write_partition
from tests.helpers.small_partition import index_of, manifest_of, windows_of


def assert_refused(path, *parts: str) -> str:
    """Assert that opening a path fails with one sentence that has all parts."""
    with pytest.raises(DataError) as error:
        Partition.open(path)
    sentence = str(error.value)
    assert "\n" not in sentence
    for part in parts:
        assert part in sentence, sentence
    return sentence


def rewrite_manifest(path, **changes):
    file = path / "manifest.json"
    file.write_text(json.dumps({**json.loads(file.read_text()), **changes}))


def rewrite_table(path, change):
    table = pd.read_csv(path / "windows.csv", dtype=str)
    change(table)
    table.to_csv(path / "windows.csv", index=False)


def rewrite_values(path, change, name="Resp"):
    file = path / "values" / f"{name}.npy"
    np.save(file, change(np.load(file)))


def test_written_windows_are_read_back(partition):
    values, observed = partition.read(np.arange(6))
    written = windows_of()
    assert values.dtype == np.float32 and observed.dtype == bool
    assert values.shape == observed.shape == (6, 3, 3, 100)
    np.testing.assert_array_equal(observed[:, 0], ~np.isnan(written[:, 0]))
    np.testing.assert_array_equal(observed[:, 2, :, 0], ~np.isnan(written[:, 2, :, 0]))
    np.testing.assert_array_equal(values[observed], written[observed])
    assert (values[~observed] == 0).all()
    assert not observed[:, 1].any(), "a modality that the site does not have"
    assert not observed[:, 2, :, 1:].any(), "padding of a slow modality"
    assert len(partition) == 6
    assert partition.record_ids.tolist() == [f"p{i:03d}" for i in range(6)]
    assert partition.patient_ids.tolist() == [f"p{i}" for i in range(6)]
    assert partition.labels.dtype == np.float32
    np.testing.assert_array_equal(partition.labels, index_of()[["W", "REM"]])


def test_rows_belong_to_splits_and_are_read_in_any_order(partition):
    assert partition.rows("train").tolist() == [0, 1, 2, 3]
    assert partition.rows("val").tolist() == [4]
    assert partition.rows("test").tolist() == [5]
    np.testing.assert_array_equal(partition.read([4, 1])[0], partition.read(range(6))[0][[4, 1]])
    assert partition.read([])[0].shape == (0, 3, 3, 100)
    with pytest.raises(DataError, match='split "dev" is unknown'):
        partition.rows("dev")


def test_values_are_memory_mapped_files_of_present_modalities(partition):
    assert sorted(p.name for p in (partition.path / "values").iterdir()) == ["EEG Fpz-Cz.npy", "Resp.npy"]
    resp = np.load(partition.path / "values" / "Resp.npy", allow_pickle=False)
    assert resp.dtype == np.dtype("<f4") and resp.shape == (6, 3, 1)
    assert isinstance(partition._arrays["Resp"], np.memmap)


def test_the_schema_has_only_the_fields_that_sites_must_agree_on(partition):
    schema = partition.manifest.schema_fields()
    assert json.loads(json.dumps(schema)) == schema
    assert schema == {
        "dataset": "sleep",
        "modalities": [
            {"name": "EEG Fpz-Cz", "unit": "uV", "samples_per_patch": 100, "range": None},
            {"name": "EOG", "unit": "uV", "samples_per_patch": 100, "range": None},
            {"name": "Resp", "unit": "a.u.", "samples_per_patch": 1, "range": None},
        ],
        "patch_seconds": 1.0,
        "patches": 3,
        "labels": ["W", "REM"],
        "task": "single-label",
        "label_unit": "",
        "label_range": [None, None],
        "covariates": [],
        "description": "",
    }


def test_a_manifest_is_frozen_and_consistent():
    with pytest.raises(ValidationError, match="frozen"):
        manifest_of().site = "there"
    m = manifest_of().modalities[0].model_dump()
    for changes, message in [
        ({"labels": ("W", "W")}, "labels must have different names"),
        ({"modalities": [{**m, "samples_per_patch": 10}]}, "100 samples in 1 s, but samples_per_patch is 10"),
        ({"modalities": [{**m, "present": False}]}, "at least one modality must be present"),
        ({"modalities": [{**m, "name": "../x"}]}, "pattern"),
        ({"windows": {"train": 3}}, "windows must count train, val and test"),
        ({"surprise": 1}, "Extra inputs"),
        ({"format": 1}, "expected format 2 of a partition, got 1: prepare it again"),
    ]:
        with pytest.raises(ValidationError, match=message):
            manifest_of(**changes)


# --- refusals in writing leave no files


def test_an_existing_path_is_refused_and_untouched(tmp_path):
    (tmp_path / "here").mkdir()
    (tmp_path / "here" / "other.txt").write_text("unchanged")
    with pytest.raises(DataError, match="exists already: choose another path, or remove it"):
        write_partition(tmp_path / "here", manifest_of(), index_of(), windows_of())
    assert (tmp_path / "here" / "other.txt").read_text() == "unchanged"
    assert [p.name for p in tmp_path.iterdir()] == ["here"]


def yield_windows_and_fail():
    yield from windows_of(3)
    raise OSError("the disk failed")


@pytest.mark.parametrize(
    ("windows", "error", "sentence"),
    [
        (yield_windows_and_fail(), OSError, "the disk failed"),
        (windows_of(5), DataError, "only 5 windows came for the 6 rows"),
        (windows_of(7), DataError, "more windows came than the 6 rows"),
        (windows_of()[:, :2], DataError, r"record p000: expected \(3, 3, 100\) values, got \(2, 3, 100\)"),
        (np.full_like(windows_of(), np.inf), DataError, "record p000: EEG Fpz-Cz has an infinite value"),
    ],
)
def test_a_failure_while_writing_leaves_no_files(tmp_path, windows, error, sentence):
    with pytest.raises(error, match=sentence):
        write_partition(tmp_path / "new" / "here", manifest_of(), index_of(), windows)
    assert list(tmp_path.iterdir()) == []


def test_infinite_padding_is_ignored(tmp_path):
    windows = windows_of()
    windows[:, 2, :, 1:] = np.inf
    write_partition(tmp_path / "here", manifest_of(), index_of(), windows)
    assert np.isfinite(Partition.open(tmp_path / "here").read(range(6))[0]).all()


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (lambda t: t.drop(columns="split"), "the index has no column split"),
        (lambda t: t.assign(W=[0.5, *t["W"][1:]]), r"row 0 \(record p000\) has a value of label W"),
        (lambda t: t.assign(split="train"), "the index has windows .* but the manifest says"),
        (lambda t: t.iloc[:0], 'site "here" would have no windows'),
    ],
)
def test_an_index_that_disagrees_with_the_manifest_is_refused(tmp_path, change, sentence):
    with pytest.raises(DataError, match=sentence):
        write_partition(tmp_path / "here", manifest_of(), change(index_of()), windows_of())
    assert list(tmp_path.iterdir()) == []


# --- errors in opening are one sentence with file and row


def test_directories_that_are_no_partition_are_refused(tmp_path, partition):
    assert_refused(tmp_path / "nowhere", "there is no partition at", "nowhere", "condi prepare")
    (tmp_path / "federation.json").write_text("{}")
    assert_refused(tmp_path, "is a federation, not one site")
    (partition.path / "manifest.json").unlink()
    assert_refused(partition.path, "has no manifest.json")


def test_a_damaged_manifest_is_refused(partition):
    rewrite_manifest(partition.path, patches="many")
    assert_refused(partition.path, "manifest.json", 'key "patches" is wrong')
    rewrite_manifest(partition.path, patches=3, colour="red")
    assert_refused(partition.path, "manifest.json", 'key "colour" is wrong')
    (partition.path / "manifest.json").write_text('{"format": 2,')
    assert_refused(partition.path, "manifest.json", "Invalid JSON")


def test_a_manifest_that_disagrees_with_the_data_is_refused(partition):
    rewrite_manifest(partition.path, windows={"train": 9, "val": 1, "test": 1})
    assert_refused(partition.path, "windows.csv", "'train': 4", "'train': 9")
    rewrite_manifest(partition.path, windows={"train": 4, "val": 1, "test": 1}, patches=4)
    assert_refused(partition.path, "EEG Fpz-Cz.npy", "(6, 4, 100)", "(6, 3, 100)")


@pytest.mark.parametrize(
    ("column", "row", "value", "sentence"),
    [
        ("split", 2, "dev", "row 2 (record p002) has a split other than train, val or test"),
        ("W", 3, "2", "row 3 (record p003) has a value of label W that is not 0 or 1"),
        ("W", 3, "", "row 3 (record p003) has some of its labels and lacks others: give all or none"),
        ("W", 0, "1", "row 0 (record p000) must have exactly one label"),
        ("record_id", 4, "p001", "row 4 (record p001) has a record_id that an earlier row has"),
        ("record_id", 4, "", "row 4 (record ) has no record_id"),
        ("patient_id", 1, "", "row 1 (record p001) has no patient_id"),
        ("patient_id", 5, "p1", "row 1 (record p001) belongs to a patient who is in two splits"),
    ],
)
def test_a_damaged_row_is_named(partition, column, row, value, sentence):
    rewrite_table(
        partition.path, lambda table: table.__setitem__(column, table[column].mask(table.index == row, value))
    )
    assert_refused(partition.path, "windows.csv", sentence)


def test_a_damaged_table_is_refused(partition):
    rewrite_table(partition.path, lambda table: table.pop("REM"))
    assert_refused(partition.path, "windows.csv", "has no column REM")
    (partition.path / "windows.csv").write_text('record_id,patient_id\n1,2,3\n"4,5,6,7,8')
    assert_refused(partition.path, "windows.csv", "not a readable csv")
    (partition.path / "windows.csv").unlink()
    assert_refused(partition.path, "has no windows.csv")


def test_ids_are_read_as_text(tmp_path):
    index = index_of()
    index["record_id"] = ["007", "NA", "1e5", "null", "a,b", 'say "x"']
    write_partition(tmp_path / "here", manifest_of(), index, windows_of())
    assert Partition.open(tmp_path / "here").record_ids.tolist() == index["record_id"].tolist()


def test_damaged_values_are_refused(partition):
    file = partition.path / "values" / "Resp.npy"
    content = file.read_bytes()
    rewrite_values(partition.path, lambda a: a.astype(np.float64))
    assert_refused(partition.path, "Resp.npy", "must contain float32", "float64")
    rewrite_values(partition.path, lambda a: a[:-1].astype(np.float32))
    assert_refused(partition.path, "Resp.npy", "(6, 3, 1)", "(5, 3, 1)")
    file.write_bytes(content[:-10])
    assert_refused(partition.path, "Resp.npy", "is damaged")
    file.write_bytes(b"hello")
    assert_refused(partition.path, "Resp.npy", "is damaged")
    file.unlink()
    assert_refused(partition.path, "Resp.npy", "is missing")


def test_a_pickle_is_not_opened(partition):
    np.save(partition.path / "values" / "Resp.npy", np.array([{"a": 1}] * 6, dtype=object), allow_pickle=True)
    assert_refused(partition.path, "Resp.npy", "is damaged")


@pytest.mark.parametrize("block_bytes", [1, 2**24])
def test_an_infinite_value_is_found_in_blocks_of_any_size(partition, monkeypatch, block_bytes):
    def insert_infinity(values):
        values[4, 1, 0] = -np.inf
        return values

    monkeypatch.setattr(values_files, "VALUES_BLOCK_BYTES", block_bytes)
    rewrite_values(partition.path, insert_infinity)
    assert_refused(partition.path, "Resp.npy", "row 4 (record p004) has an infinite value")
    assert len(Partition.open(partition.path, check=False)) == 6


def test_a_partition_of_another_user_is_refused_in_one_sentence(partition):
    others = partition.path.parent
    others.chmod(0)
    is_root = os.geteuid() == 0
    try:
        if is_root:
            os.seteuid(65534)
        with pytest.raises(DataError, match=f"{partition.path} is private to another user, .*chown"):
            Partition.open(partition.path)
    finally:
        if is_root:
            os.seteuid(0)
        others.chmod(0o700)
