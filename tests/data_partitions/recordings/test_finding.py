"""Recordings are found by their format."""

import pytest

from data_partitions.errors import DataError
from data_partitions.recordings import find_recordings
from tests.helpers.wfdb_files import draw_samples, write_record


def test_files_are_found_by_their_format(tmp_path):
    write_record(tmp_path / "a", "r1", draw_samples())
    for name in (
        "x.csv",
        "X.EDF",
        "x.bdf",
        "x.csv.gz",
        "x.npy",
        "x.npz",
        "x.parquet",
        ".hidden/y.csv",
        "notes.txt",
        ".z.csv",
    ):
        file = tmp_path / "b" / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text("hour,HR\n0,1\n")
    names = [file.name for file in find_recordings(tmp_path)]
    assert names == ["r1.hea", "X.EDF", "x.bdf", "x.csv", "x.csv.gz", "x.npy", "x.npz"]
    for name in ("r1", "r1.dat", "r1.hea"):
        assert find_recordings(tmp_path / "a" / name) == [tmp_path / "a" / "r1.hea"]
    assert find_recordings(tmp_path / "b" / "X.EDF") == [tmp_path / "b" / "X.EDF"]
    (tmp_path / "empty").mkdir()
    for path, sentence in [
        (tmp_path / "empty", "contains no file"),
        (tmp_path / "nowhere", "there is no"),
        (tmp_path / "b" / "notes.txt", "has no supported format"),
    ]:
        with pytest.raises(DataError, match=sentence):
            find_recordings(path)
