import pytest

from data_partitions import DataError
from data_partitions.storage import atomic_directory, atomic_write


def test_a_directory_appears_only_when_complete(tmp_path):
    with atomic_directory(tmp_path / "a" / "b") as temp:
        (temp / "file").write_text("x")
        assert not (tmp_path / "a" / "b").exists()
        assert temp.parent == tmp_path / "a", "a sibling, so that renaming is atomic"
    assert [p.name for p in (tmp_path / "a").iterdir()] == ["b"]
    assert (tmp_path / "a" / "b" / "file").read_text() == "x"


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt])
def test_a_failed_directory_does_not_appear(tmp_path, error):
    (tmp_path / "a").mkdir()
    with pytest.raises(error), atomic_directory(tmp_path / "a" / "b" / "c") as temp:
        (temp / "file").write_text("x")
        raise error
    assert list((tmp_path / "a").iterdir()) == [], "only the parents that were made for it are removed"


def test_a_directory_that_appeared_meanwhile_is_not_replaced(tmp_path):
    with pytest.raises(DataError, match="exists already"), atomic_directory(tmp_path / "a"):
        (tmp_path / "a").mkdir()
        (tmp_path / "a" / "other").write_text("unchanged")
    assert [p.name for p in tmp_path.iterdir()] == ["a"]
    assert (tmp_path / "a" / "other").read_text() == "unchanged"


def test_a_dangling_link_counts_as_existing(tmp_path):
    (tmp_path / "a").symlink_to(tmp_path / "nowhere")
    with pytest.raises(DataError, match="exists already"), atomic_directory(tmp_path / "a"):
        pass


def test_a_file_is_replaced_completely_or_not_at_all(tmp_path):
    path = tmp_path / "table.csv"
    with atomic_write(path, mode=0o640) as file:
        file.write(b"first")
        assert not path.exists()
    assert path.stat().st_mode & 0o777 == 0o640
    with pytest.raises(RuntimeError), atomic_write(path) as file:
        file.write(b"second")
        raise RuntimeError
    assert path.read_bytes() == b"first" and list(tmp_path.iterdir()) == [path]
