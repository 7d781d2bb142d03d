"""Several recordings in an array are prepared as recordings of their own."""

import numpy as np
import pytest
from typer.testing import CliRunner

from data_partitions.partition import Partition
from server_app.cli import app
from tests.helpers.described import ONE_SITE, open_prepared, prepare, write_description
from tests.helpers.holter_files import RATE, holter_samples

DESCRIPTION = """
[dataset]
name = "arrays"
[files]
format = "npy"
path = "*.npz"
axes = "record channel time"
values = "x"
records = "ids"
names = "leads"
rate = 100
[table]
path = "labels.csv"
record = "id"
patient = "patient"
[window]
length = "2 s"
[signals.V1]
unit = "mV"
rate = 100
[signals.I]
unit = "mV"
rate = 100
[task]
kind = "binary"
name = "ill"
column = "ill"
"""


@pytest.fixture
def arrays(tmp_path):
    """Two archives with 10 recordings of 5 s each; return their samples by name."""
    samples = np.random.default_rng(2).normal(size=(20, 2, 500)).astype(np.float32)
    samples[3, 0, 250:300] = np.nan
    names = [f"e{k:02d}" for k in range(20)]
    for part, rows in (("a", slice(0, 10)), ("b", slice(10, 20))):
        np.savez(tmp_path / f"{part}.npz", x=samples[rows], ids=names[rows], leads=["I", "V1"])
    rows = "".join(f"{name},p{k // 2},{k % 2}\n" for k, name in enumerate(names))
    (tmp_path / "labels.csv").write_text("id,patient,ill\n" + rows)
    return dict(zip(names, samples, strict=True))


def test_each_recording_has_its_windows_and_its_label(tmp_path, arrays):
    (tmp_path / "dataset.toml").write_text(DESCRIPTION)
    words = [
        "prepare",
        tmp_path / "dataset.toml",
        "--source",
        tmp_path,
        "--site",
        "s",
        "--out",
        tmp_path / "s",
    ]
    result = CliRunner().invoke(app, [str(word) for word in words])
    assert result.exit_code == 0, result.output
    partition = Partition.open(tmp_path / "s")
    assert len(partition) == 40 and set(partition.recording_ids) == set(arrays)
    for row, (record, recording) in enumerate(
        zip(partition.record_ids, partition.recording_ids, strict=True)
    ):
        (values,), (observed,) = partition.read([row])
        first = 200 * int(record[-4:])
        expected = arrays[recording][::-1, first : first + 200]
        np.testing.assert_array_equal(observed.reshape(2, -1), ~np.isnan(expected))
        np.testing.assert_array_equal(values.reshape(2, -1), np.nan_to_num(expected))
        assert partition.labels[row] == int(recording[1:]) % 2


ARRAYS = ('format = "wfdb"\npath = "{record}.hea"', 'format = "npy"\npath = "*.npz"\nrate = 250\n')


def write_arrays(folder, files, recordings=6):
    """Write the Holter recordings as arrays of several recordings each, in mV."""
    folder.mkdir()
    for name, ids in files.items():
        leads = np.stack([holter_samples(k, 35) for k in range(len(ids))]) / 1000
        values = np.stack([leads, -leads], axis=1)
        np.savez(folder / name, x=values, names=["CC5", "CM5"], **({"ids": ids} if ids[0] else {}))
    rows = [f"r{k:02d},p{k},{'SR' if k % 2 else 'AF'},50" for k in range(recordings)]
    (folder / "labels.csv").write_text("record,patient,label,age\n" + "\n".join(rows) + "\n")
    return folder


def test_arrays_of_several_recordings_are_prepared_by_their_names(tmp_path):
    source = write_arrays(tmp_path / "in", {"a.npz": ["r00", "r01", "r02"], "b.npz": ["r03", "x"]})
    (source / "c.npz").write_text("damaged")
    keys = 'axes = "record channel time"\nvalues = "x"\nrecords = "ids"\nnames = "names"'
    description = write_description(tmp_path, (ARRAYS[0], ARRAYS[1] + keys))
    result = prepare(description, source, tmp_path / "north", *ONE_SITE)
    assert result.exit_code == 0, result.output
    partition = Partition.open(tmp_path / "north")
    assert set(partition.recording_ids) == {"r00", "r01", "r02", "r03"} and len(partition) == 12
    for row, recording in enumerate(partition.recording_ids):
        expected = int(recording[1:]) % 3 / 2 + np.arange(10 * RATE) / 1000
        np.testing.assert_allclose(partition.read([row])[0][0, 1].ravel(), -expected, atol=1e-6)
    lines = result.stdout.splitlines()
    assert 'Rows that are left out, as they have no file (2): "r04", "r05".' in lines
    assert 'Files that are left out, as the table has no row of them (1): "x".' in lines
    assert sum("c.npz" in line for line in lines) == 1


def test_recordings_of_equal_names_in_several_arrays_have_the_name_of_their_file(tmp_path):
    source = write_arrays(tmp_path / "in", {"a.npz": [""] * 2, "b.npz": [""] * 2})
    keys = 'axes = "record channel time"\nvalues = "x"\nnames = "names"'
    table = '[table]\npath = "labels.csv"\nrecord = "record"\npatient = "patient"\n'
    description = write_description(
        tmp_path,
        (ARRAYS[0], ARRAYS[1] + keys),
        (table, ""),
        ('column = "label"\n', ""),
        ('kind = "single-label"\n', ""),
        ('classes = { sinus = ["SR", "N"], afib = ["AF"] }\n', ""),
        ('[covariates.age]\nunit = "years"\n', ""),
    )
    partition = open_prepared(description, source, tmp_path / "north")
    assert sorted(set(partition.recording_ids)) == ["a/0", "a/1", "b/0", "b/1"]
    assert partition.manifest.task == "none" and partition.labels.shape == (12, 0)
