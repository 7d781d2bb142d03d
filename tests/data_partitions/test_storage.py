import pytest

from data_partitions import DataError
from data_partitions.storage import new_directory


def test_a_directory_appears_whole(tmp_path):
    with new_directory(tmp_path / "a" / "b") as temp:
        (temp / "file").write_text("x")
        assert not (tmp_path / "a" / "b").exists()
        assert temp.parent == tmp_path / "a", "a sibling, so that renaming is atomic"
    assert [p.name for p in (tmp_path / "a").iterdir()] == ["b"]
    assert (tmp_path / "a" / "b" / "file").read_text() == "x"


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt])
def test_or_not_at_all(tmp_path, error):
    (tmp_path / "a").mkdir()
    with pytest.raises(error), new_directory(tmp_path / "a" / "b" / "c") as temp:
        (temp / "file").write_text("x")
        raise error
    assert list((tmp_path / "a").iterdir()) == [], "parents made for it are gone, others are not"


def test_what_appeared_meanwhile_is_kept(tmp_path):
    with pytest.raises(DataError, match="exists already"), new_directory(tmp_path / "a"):
        (tmp_path / "a").mkdir()
        (tmp_path / "a" / "other").write_text("theirs")
    assert [p.name for p in tmp_path.iterdir()] == ["a"]
    assert (tmp_path / "a" / "other").read_text() == "theirs"


def test_a_dangling_link_counts_as_existing(tmp_path):
    (tmp_path / "a").symlink_to(tmp_path / "nowhere")
    with pytest.raises(DataError, match="exists already"), new_directory(tmp_path / "a"):
        pass
