"""Reading the files of a run directory: names of models, and errors of one line."""

import json

import pytest

from condi_core.run_files import (
    RunFileError,
    RunFileMissingError,
    read_config,
    read_history,
    read_result,
    read_roster,
    read_versions,
    weights_path,
    weights_paths,
)
from tests.helpers.generated_run import config

READERS = {
    "config.json": read_config,
    "roster.json": read_roster,
    "history.jsonl": read_history,
    "result.json": read_result,
    "versions.json": read_versions,
}


@pytest.mark.parametrize("file", READERS)
def test_a_missing_file_is_named(tmp_path, file):
    with pytest.raises(RunFileMissingError, match=f"is not a run directory: it has no {file}$"):
        READERS[file](tmp_path)


@pytest.mark.parametrize("file", READERS)
@pytest.mark.parametrize("content", [b"{half", b"3", b'"text"', b"\xff\xfe", b"[1]", b'{"seed": 1e999}'])
def test_a_damaged_file_is_named_in_one_line(tmp_path, file, content):
    if file in ("history.jsonl", "versions.json") and content.startswith(b'{"seed"'):
        return  # an object, which is all that these files require
    (tmp_path / file).write_bytes(content)
    with pytest.raises(RunFileError) as refused:
        READERS[file](tmp_path)
    assert str(tmp_path / file) in str(refused.value) and "\n" not in str(refused.value)


def test_content_is_read_back(tmp_path):
    settings = config(**{"imputer.rounds": 3})
    (tmp_path / "config.json").write_text(json.dumps(settings.flat()))
    (tmp_path / "history.jsonl").write_text('{"round": 1}\n{"round": 2}\n\n')
    (tmp_path / "roster.json").write_text('{"north": {"sums": []}}')
    assert read_config(tmp_path) == settings
    assert [line["round"] for line in read_history(tmp_path)] == [1, 2]
    assert read_roster(tmp_path) == {"north": {"sums": []}}


def test_weights_are_found_with_their_sites(tmp_path):
    for site in ("", "north", "st.-mary"):
        weights_path(tmp_path, "task-local", site).touch()
    weights_path(tmp_path, "imputer").touch()
    names = {path.name: site for path, site in weights_paths(tmp_path, "task").items()}
    assert names == {
        "task-local.safetensors": "",
        "task-local.north.safetensors": "north",
        "task-local.st.-mary.safetensors": "st.-mary",
    }
    assert list(names)[0] == "task-local.safetensors"
