"""One command at a time writes an output, which is private to its user, and complete or absent."""

import errno
import os

import pytest

from client_app.inference import impute_files, impute_partition, predict
from tests.helpers.inference_inputs import partition, record
from tests.helpers.umask import umask


def call_again_after(monkeypatch, owner, name, call):
    """Make the first call of `owner.name` also do `call`; return the list that gets the result."""
    function, results = getattr(owner, name), []

    def both(*arguments):
        result = function(*arguments)
        if not results:
            results.append(None)  # so that `call` does not do the same again
            results[0] = call()
        return result

    monkeypatch.setattr(owner, name, both)
    return results


def test_a_second_call_leaves_the_output_of_the_first_alone(tmp_path, condi, monkeypatch):
    data = partition(tmp_path / "in")
    assert condi("impute", data, tmp_path / "undisturbed")[0] == 0
    out = tmp_path / "out"
    results = call_again_after(
        monkeypatch, impute_partition._PartitionArrays, "append", lambda: condi("impute", data, out)
    )
    assert condi("impute", data, out)[0] == 0
    code, output = results[0]
    assert code == 1 and f"Error: {out} is in use by process {os.getpid()} on" in output
    assert output.count("\n") == 1
    files = [file.relative_to(out) for file in out.rglob("*.npy")]
    assert len(files) == 6
    for file in files:
        assert (out / file).read_bytes() == (tmp_path / "undisturbed" / file).read_bytes()


@pytest.mark.parametrize("command", ["impute", "predict"])
def test_files_are_written_by_one_command_at_a_time(tmp_path, condi, monkeypatch, command):
    record(tmp_path / "in", "r1")
    out = tmp_path / "out.csv"
    module = impute_files if command == "impute" else predict
    results = call_again_after(
        monkeypatch, module, "explain_failure", lambda: condi(command, tmp_path / "in", out)
    )
    (tmp_path / "in" / "not.edf").write_text("hello")
    assert "skipped" in condi(command, tmp_path / "in", out)[1]
    assert results[0][0] == 1 and f"Error: {out} is in use by process {os.getpid()} on" in results[0][1]
    assert not list(tmp_path.glob(".*")) and not list(out.glob(".*"))


def test_the_next_call_removes_what_a_killed_one_left(tmp_path, condi):
    record(tmp_path / "in" / "a", "r1")
    left = [
        tmp_path / ".p.csv.0a1b2c3d.tmp",
        tmp_path / ".p-recordings.csv.0a1b2c3d.tmp",
        tmp_path / "out" / ".copies.0a1b2c3d.tmp" / "0" / "r1.dat",
        tmp_path / "out" / "a" / ".r1.hea.provenance.json.0a1b2c3d.tmp",
    ]
    for file in left:
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(b"values of a patient")
    assert condi("impute", tmp_path / "in", tmp_path / "out")[0] == 0
    assert condi("predict", tmp_path / "in", tmp_path / "p.csv", "--samples", "0")[0] == 0
    assert not list(tmp_path.rglob(".*"))


def test_what_is_written_is_private_to_its_user(tmp_path, condi):
    data, files = partition(tmp_path / "in"), tmp_path / "files"
    record(files / "a", "r1")
    with umask(0):
        for name, source in (("partition", data), ("copies", files)):
            out = tmp_path / "new" / name
            assert condi("impute", source, out, "--samples", "2")[0] == 0
            assert condi("predict", source, out.with_suffix(".csv"), "--samples", "0")[0] == 0
    paths = [tmp_path / "new", *(tmp_path / "new").rglob("*")]
    assert len(paths) > 60, "values, quantiles, masks, provenance and tables"
    modes = {path: path.stat().st_mode & 0o777 for path in paths}
    assert {path for path, mode in modes.items() if mode != (0o700 if path.is_dir() else 0o600)} == set()


@pytest.mark.parametrize("flushes", [0, 1, 4, 20, 28])
def test_a_full_disk_is_one_sentence_and_the_call_can_be_repeated(tmp_path, condi, monkeypatch, flushes):
    data, files, fsync = partition(tmp_path / "in"), tmp_path / "files", os.fsync
    record(files, "r1")
    commands = {"out": ("impute", data), "copies": ("impute", files), "p.csv": ("predict", files)}

    def flush(descriptor):
        if not remaining[0]:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        remaining[0] -= 1
        fsync(descriptor)

    for name, (command, source) in commands.items():
        with monkeypatch.context() as patch:
            patch.setattr(os, "fsync", flush)
            remaining = [flushes]
            code, output = condi(command, source, tmp_path / name)
        if code:
            assert "No space left on device" in output and "Traceback" not in output
            assert {p.name for p in tmp_path.iterdir()} <= {"in", "files", ".out.partial", *commands}
            assert not (tmp_path / name).is_file() and not list((tmp_path / name).glob("*.dat"))
            if name != "copies":  # other files are completed nevertheless
                assert output == "Error: No space left on device: free some space and repeat the command\n"
            code, output = condi(command, source, tmp_path / name)
        assert code == 0, output
    assert not list(tmp_path.glob(".*"))
