"""Several recordings in an array are prepared as recordings of their own."""

import numpy as np
import pytest
from typer.testing import CliRunner

from data_partitions.partition import Partition
from server_app.cli import app

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
