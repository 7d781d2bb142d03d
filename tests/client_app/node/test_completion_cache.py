"""Completed windows are those of the partition as it is, and are removed with it."""

import json
import os
import shutil

import pytest
import torch
from typer.testing import CliRunner

from client_app.node import completions
from client_app.node.completion_cache import RECORD_FILE, read_fingerprint
from client_app.node.site import Site
from condi_core.config import RunConfig
from condi_core.imputer.imputer import DiffusionImputer
from condi_core.methods import METHODS
from data_partitions import file_hashes
from data_partitions.partition import Partition
from data_partitions.pool import Pool
from data_partitions.storage import atomic_write
from server_app.cli import app
from tests.helpers.umask import umask

METHOD = METHODS["condi"]


@pytest.fixture
def cache(tmp_path):
    return tmp_path / "cache" / "completed"


@pytest.fixture
def site(federation, small_settings, cache):
    """`site(name)`: a site as a new message opens it."""

    def open_site(name="site-1"):
        config = RunConfig.from_flat(small_settings())
        return Site(name, Partition.open(federation / name), config, torch.device("cpu"), cache)

    return open_site


def complete(site, splits=("test",)):
    imputer = DiffusionImputer(site.schema, site.config.imputer).eval()
    completions.complete(site, METHOD, imputer, "weights", splits)


def change_middle(partition):
    """Change a value in the middle of a file; its size and its time of modification stay."""
    file = partition / "values" / "b.npy"
    before = file.stat()
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 1
    file.write_bytes(content)
    os.utime(file, ns=(before.st_atime_ns, before.st_mtime_ns))


def test_windows_of_a_changed_partition_are_not_served_and_are_removed(site, federation, cache, monkeypatch):
    now = file_hashes.time.time_ns
    monkeypatch.setattr(file_hashes.time, "time_ns", lambda: now() + 60 * 10**9)  # changes are settled
    complete(site())
    assert completions.load(site(), METHOD, "weights", "test").values.shape[0] == 3
    (record,) = cache.rglob(RECORD_FILE)
    assert len(json.loads(record.read_text())["files"]) == 2 + 3, "manifest, windows and three modalities"
    change_middle(federation / "site-1")
    with pytest.raises(completions.CompletionsMissingError):
        completions.load(site(), METHOD, "weights", "test")
    assert not list(cache.rglob("*.npy"))


def test_a_message_reads_no_file_that_an_earlier_one_has_hashed(site, monkeypatch):
    now = file_hashes.time.time_ns
    monkeypatch.setattr(file_hashes.time, "time_ns", lambda: now() + 60 * 10**9)
    before = site().fingerprint
    monkeypatch.setattr(file_hashes.hashlib, "file_digest", lambda *_: pytest.fail("a file was read"))
    assert site().fingerprint == before


@pytest.mark.parametrize("content", [b"", b"{}", b'{"paths": [], "fingerprint": "", "files": {"x": {}}}'])
def test_a_damaged_record_is_written_again(site, cache, content):
    before = site().fingerprint
    (record,) = cache.rglob(RECORD_FILE)
    complete_record = record.read_bytes()
    record.write_bytes(content)
    assert site().fingerprint == before and record.read_bytes() == complete_record


def test_pooled_partitions_have_a_folder_of_their_own(federation, cache):
    parts = tuple(Partition.open(federation / f"site-{i}") for i in range(3))
    fingerprints = {
        read_fingerprint(store, cache) for store in (*parts, Pool(parts, "all"), Pool(parts[:2], "two"))
    }
    assert len(fingerprints) == len(list(cache.iterdir())) == 5
    assert Pool(parts, "all").fingerprint() in fingerprints


def test_the_next_completion_removes_windows_of_partitions_that_are_gone(site, federation, cache):
    complete(site("site-0"))
    complete(site("site-1"))
    earlier_version, others = cache / ("0" * 16), cache / "of the user"
    for folder in (earlier_version, others):
        folder.mkdir()
        (folder / "a.values.npy").write_bytes(b"")
    shutil.rmtree(federation / "site-0")
    complete(site("site-2"))
    records = [json.loads(file.read_text()) for file in cache.rglob(RECORD_FILE)]
    assert sorted(record["paths"][0] for record in records) == [str(federation / f"site-{i}") for i in (1, 2)]
    assert not earlier_version.exists() and (others / "a.values.npy").exists()
    assert len(list(cache.iterdir())) == 3


def test_what_a_killed_process_was_completing_is_removed_by_the_next(site, cache):
    complete(site())
    (folder,) = cache.iterdir()
    left = folder / ".abc.values.npy.0a1b2c3d.tmp"
    left.write_bytes(bytes(100))
    with atomic_write(folder / "alive.values.npy") as file:
        file.write(b"of a living process")
        complete(site(), ["val"])
        assert not left.exists()
    assert (folder / "alive.values.npy").read_bytes() == b"of a living process"


def test_the_cache_is_private_to_its_user(site, cache):
    with umask(0):
        complete(site())
    modes = {path: path.stat().st_mode & 0o777 for path in (cache.parent, *cache.parent.rglob("*"))}
    assert len(modes) == 3 + 3, "a record, values and masks"
    assert all(mode == (0o700 if path.is_dir() else 0o600) for path, mode in modes.items())


def test_the_command_shows_and_clears_completed_windows(site, federation, cache):
    def condi(*words):
        result = CliRunner().invoke(app, ["cache", *words])
        assert result.exit_code == 0, result.output
        return result.output

    assert condi() == f"Completed windows in {cache}: none\n"
    complete(site("site-0"), ["test", "val"])
    complete(site("site-1"))
    for file in cache.rglob("*"):
        os.utime(file, (0, 0))
    completions.load(site("site-0"), METHOD, "weights", "test")  # a use is remembered
    lines = condi().splitlines()
    assert [line.split()[:2] for line in lines] == [
        ["Completed", "windows"],
        ["partition", "splits"],
        [str(federation / "site-0"), "2"],
        [str(federation / "site-1"), "1"],
    ]
    sizes = [sum(file.stat().st_size for file in folder.iterdir()) for folder in cache.iterdir()]
    shown = json.loads(condi("--json"))
    assert shown["cache"] == str(cache)
    assert sorted(partition["bytes"] for partition in shown["partitions"]) == sorted(sizes)
    (cache / "of the user").mkdir()
    assert condi("clear", "--cache", str(cache.parent)).startswith("removed 0.0 MB")
    assert len(json.loads(condi("--json"))["partitions"]) == 2
    assert f"from {cache}" in condi("--cache", str(cache), "clear")
    assert [p.name for p in cache.iterdir()] == ["of the user"]
    with pytest.raises(completions.CompletionsMissingError):
        completions.load(site(), METHOD, "weights", "test")
