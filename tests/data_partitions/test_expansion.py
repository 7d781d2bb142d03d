"""Small files that ask for gigantic memory are refused in a sentence, before they get it."""

import gzip
import io
import tarfile
import tracemalloc
import zipfile

import numpy as np
import pyarrow as pa
import pytest
from pyarrow import parquet

from data_partitions import DataError, expansion
from data_partitions.events.files import EventFile, list_members
from data_partitions.events.parquet_rows import read_parquet_rows
from data_partitions.recordings import csv_table, open_recording, parquet_recording
from data_partitions.recordings.csv_output import CsvOutput
from data_partitions.sources.described.table import read_cells
from data_partitions.sources.mimic_iv import tables
from tests.helpers.edf_files import EdfSignal, write_edf_file

MEGABYTE = 2**20


@pytest.fixture
def tight(monkeypatch):
    """Let a test do with small files: what any file may expand to is 128 kB."""
    monkeypatch.setattr(expansion, "FREE_BYTES", MEGABYTE // 8)


def refused(call) -> str:
    """Return the sentence with which a call is refused, that takes little memory."""
    tracemalloc.start()
    try:
        with pytest.raises(DataError) as error:
            call()
        assert tracemalloc.get_traced_memory()[1] < 32 * MEGABYTE
    finally:
        tracemalloc.stop()
    assert "\n" not in str(error.value)
    return str(error.value)


def test_a_gzip_file_of_rows_that_expands_too_far(tmp_path, tight):
    file = tmp_path / "a.csv.gz"
    file.write_bytes(gzip.compress(b"time (s),a\n" + b"0,0\n" * (MEGABYTE // 4)))
    sentence = refused(lambda: open_recording(file))
    assert f"{file} has {file.stat().st_size} bytes and expands to" in sentence
    assert "expected at most 200 times as many: unpack it yourself" in sentence
    assert "expands to" in refused(lambda: read_cells(file))


def test_a_line_without_an_end(tmp_path, monkeypatch):
    monkeypatch.setattr(csv_table, "MAX_LINE", MEGABYTE)
    file = tmp_path / "a.csv.gz"
    file.write_bytes(gzip.compress(b"time (s),a\n" + b"0" * (64 * MEGABYTE), 1))
    assert "a line has more than 1048576 characters" in refused(lambda: open_recording(file))


@pytest.mark.parametrize("content", [b"0" * (64 * MEGABYTE), b"itemid\n" + b"0\n" * (8 * MEGABYTE)])
def test_a_table_of_mimic_iv_that_expands_too_far(tmp_path, monkeypatch, tight, content):
    monkeypatch.setattr(tables, "DECOMPRESSED_BLOCK_BYTES", MEGABYTE // 16)
    file = tmp_path / "chartevents.csv.gz"
    file.write_bytes(gzip.compress(content))
    assert "expands to" in refused(lambda: list(tables.stream_table(file, {"itemid": float})))


@pytest.mark.parametrize("where", ["header", "member"])
def test_an_archive_that_expands_too_far(tmp_path, tight, where):
    file, zeros = tmp_path / "a.tar.gz", "0" * (8 * MEGABYTE)
    with tarfile.open(file, "w:gz") as archive:
        member = tarfile.TarInfo("a.csv")
        if where == "header":
            member.pax_headers = {"comment": zeros}
            archive.addfile(member)
        else:
            member.size = len(zeros)
            archive.addfile(member, io.BytesIO(zeros.encode()))
    assert "expands to" in refused(lambda: list_members(file))


def test_a_gzip_file_may_expand_as_real_tables_do(tmp_path, tight):
    file, rows = tmp_path / "a.csv.gz", b"".join(b"%d,%d\n" % (i, i % 7) for i in range(20_000))
    file.write_bytes(gzip.compress(b"time (s),a\n" + rows))
    assert len(rows) > expansion.FREE_BYTES and open_recording(file).channels[0].samples == 20_000


def test_an_npz_archive_that_expands_too_far(tmp_path, tight):
    np.savez_compressed(tmp_path / "a.npz", np.zeros(8 * MEGABYTE, np.uint8))
    sentence = refused(lambda: open_recording(tmp_path / "a.npz", rate=1, axes="time"))
    assert "expands to 8388736 or more" in sentence
    with zipfile.ZipFile(tmp_path / "b.npz", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("values.npy", (tmp_path / "a.npz").read_bytes())
        archive.writestr("names.npy", bytes(8 * MEGABYTE))
    assert "expands to" in refused(lambda: open_recording(tmp_path / "b.npz", rate=1, values="values"))


def test_an_array_of_channels_instead_of_samples(tmp_path):
    np.save(tmp_path / "a.npy", np.zeros((1, 20_000), np.uint8))
    sentence = refused(lambda: open_recording(tmp_path / "a.npy", rate=1))
    assert "has 20000 channels by its axes time channel, expected at most 10000: give its axes" in sentence


def test_an_npy_header_of_a_gigantic_array(tmp_path):
    file = io.BytesIO()
    header = {"descr": "<f8", "fortran_order": False, "shape": (10**12, 2)}
    np.lib.format.write_array_header_1_0(file, header)
    (tmp_path / "a.npy").write_bytes(file.getvalue() + bytes(64))
    assert "cannot be read" in refused(lambda: open_recording(tmp_path / "a.npy", rate=1))


@pytest.mark.parametrize(
    ("header", "reason"),
    [
        ("a 1 100 0\na.dat 16x999999999999 200\n", "ends after 0 of the 1 samples"),
        ("a 1 100\na.dat 16x99999999 200\n", "ends after 0 of the 1 samples"),
        ("a 1 100 999999999999999\na.dat 16 200\n", "ends after 50 of the 999999999999999 samples"),
        ("a 1 100 999999999999999\n~ 16 200\n", "has no samples"),
        ("a/2 1 100 999999999999999\nb 50\n~ 999999999999949\n", "states 999999999999999 samples"),
    ],
)
def test_wfdb_headers_of_gigantic_records(tmp_path, header, reason):
    (tmp_path / "a.hea").write_text(header)
    (tmp_path / "b.hea").write_text("b 1 100 50\na.dat 16 200\n")
    (tmp_path / "a.dat").write_bytes(bytes(100))
    assert reason in refused(lambda: open_recording(tmp_path / "a.hea"))


def test_a_wfdb_signal_with_a_gigantic_skew_has_no_samples(tmp_path):
    (tmp_path / "a.hea").write_text("a 1 100 50\na.dat 16:999999999999999 200\n")
    (tmp_path / "a.dat").write_bytes(bytes(100))
    assert np.isnan(open_recording(tmp_path / "a.hea").read(0, 0, 50)).all()


def test_an_edf_file_with_a_gap_of_years(tmp_path):
    signal = EdfSignal("a", np.zeros(200))
    file = write_edf_file(tmp_path / "a.edf", [signal], reserved="EDF+D", onsets=[0, 9e8])
    assert "samples of a channel, but has" in refused(lambda: open_recording(file))


def test_a_table_of_hours_with_thousands_of_columns(tmp_path):
    names = ",".join(f"v{i}" for i in range(2000))
    (tmp_path / "a.csv").write_text(f"hour,{names}\n" + "".join(f"{h}{',' * 2000}\n" for h in (0, 1999)))
    recording = open_recording(tmp_path / "a.csv")
    (tmp_path / "out").mkdir()
    tracemalloc.start()
    CsvOutput(recording, tmp_path / "out").close()
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 24 * MEGABYTE < 2000 * 2000 * 8
    (tmp_path / "a.csv").write_text(f"hour,{names}\n" + "".join(f"{h}{',' * 2000}\n" for h in (0, 999999)))
    assert "the times are on no regular grid" in refused(lambda: open_recording(tmp_path / "a.csv"))


def test_parquet_files_of_repeated_numbers(tmp_path, monkeypatch, tight):
    file = tmp_path / "a.parquet"
    parquet.write_table(pa.table({"a": np.zeros(8 * MEGABYTE)}), file, row_group_size=4 * MEGABYTE)
    assert "expands to" in refused(lambda: read_cells(file))
    monkeypatch.setattr(parquet_recording, "MAX_GROUP_ROWS", 2 * MEGABYTE)
    assert "has a row group of 4194304 rows, which is read whole: expected at most" in refused(
        lambda: open_recording(file, rate=1)
    )
    monkeypatch.undo()
    monkeypatch.setattr(expansion, "MAX_SAMPLES_PER_BYTE", 100)
    assert "states 8388608 samples of a channel, but has" in refused(lambda: open_recording(file, rate=1))


def test_parquet_files_of_repeated_texts(tmp_path):
    column = pa.DictionaryArray.from_arrays(np.zeros(100_000, np.int32), pa.array(["x" * 10_000]))
    parquet.write_table(pa.table({"a": column}), tmp_path / "a.parquet", store_schema=False)
    assert (tmp_path / "a.parquet").stat().st_size < 10_000
    faults = []
    rows = read_parquet_rows(
        [EventFile(tmp_path / "a.parquet")],
        lambda file, names: names,
        lambda file, fault: faults.append(fault),
    )
    default = pa.default_memory_pool()
    pool = pa.proxy_memory_pool(default)  # which counts from here on
    pa.set_memory_pool(pool)
    try:
        assert not list(rows)
        assert "expands to 1000000000 or more" in refused(lambda: read_cells(tmp_path / "a.parquet"))
    finally:
        pa.set_memory_pool(default)
    assert 0 < pool.max_memory() < 64 * MEGABYTE
    assert "has 1000000000 bytes of text for a in 100000 rows, expected at most" in str(faults[0])
