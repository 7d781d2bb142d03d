"""Columns of parquet files are read as channels, a stretch at a time."""

import numpy as np
import pyarrow as pa
import pytest
from pyarrow import parquet

from data_partitions.errors import DataError
from data_partitions.recordings import create_output, open_recording, parquet_recording


def test_stretches_over_row_groups(tmp_path, monkeypatch):
    monkeypatch.setattr(parquet_recording, "BLOCK_NUMBERS", 70)
    values = np.random.default_rng(0).normal(size=500)
    values[40:60], values[70] = np.nan, np.inf
    whole = [None if i % 50 == 0 else i for i in range(500)]
    table = pa.table({"ECG": values, "note": ["x"] * 500, "SpO2": pa.array(whole, pa.int32())})
    parquet.write_table(table, tmp_path / "a.parquet", row_group_size=130)
    recording = open_recording(tmp_path / "a.parquet", rate=250)
    assert [(c.name, c.rate, c.samples) for c in recording.channels] == [
        ("ECG", 250, 500),
        ("SpO2", 250, 500),
    ]
    assert "note" in recording.notes[0]
    expected = [np.where(np.isfinite(values), values, np.nan), np.array(whole, float)]
    for channel in range(2):
        for first, last in [(0, 500), (129, 131), (69, 300), (499, 500)]:
            np.testing.assert_array_equal(recording.read(channel, first, last), expected[channel][first:last])
        assert np.isnan(recording.read(channel, 499, 503)[1:]).all()
    with pytest.raises(DataError, match="can be read but not completed"):
        create_output(recording, tmp_path)


def test_wrong_files_are_refused_in_one_sentence(tmp_path):
    parquet.write_table(pa.table({"note": ["x"]}), tmp_path / "text.parquet")
    (tmp_path / "damaged.parquet").write_bytes(b"PAR1 no")
    for name, sentence in [("text", "no column of numbers"), ("damaged", "not a readable parquet file")]:
        with pytest.raises(DataError, match=sentence):
            open_recording(tmp_path / f"{name}.parquet", rate=1)
    with pytest.raises(DataError, match="does not state the rate"):
        open_recording(tmp_path / "text.parquet")
