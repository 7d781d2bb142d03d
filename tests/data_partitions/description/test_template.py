"""`condi dataset new` prints a description that is valid as it is, and explains each key."""

import re
from typing import get_args

import pytest
from typer.testing import CliRunner

from data_partitions.description.consistency import FORMATS_OF_KEY
from data_partitions.description.reading import read_description
from data_partitions.description.section import fields_by_key
from data_partitions.description.source_sections import FilesSection, Format
from data_partitions.description.template import read_template
from data_partitions.errors import DataError
from server_app.cli import app

FORMATS = get_args(Format)
COMMENTED = re.compile(r"# (\[[\w.]+\]|[a-z-]+ = )")


@pytest.mark.parametrize("name", FORMATS)
def test_the_template_of_each_format_is_a_valid_description(name, tmp_path):
    result = CliRunner().invoke(app, ["dataset", "new", name])
    assert result.exit_code == 0, result.output
    (tmp_path / "dataset.toml").write_text(result.output)
    assert read_description(tmp_path / "dataset.toml").files.format == name


@pytest.mark.parametrize("name", FORMATS)
def test_lines_that_are_commented_out_have_keys_that_exist(name, tmp_path):
    lines = read_template(name).splitlines()
    for number, line in enumerate(lines):
        if COMMENTED.match(line):
            changed = [*lines[:number], line.removeprefix("# "), *lines[number + 1 :]]
            header = next((text for text in reversed(lines[:number]) if re.match(r"(# )?\[", text)), "")
            if header.startswith("# "):
                changed.insert(number, header.removeprefix("# "))
            path = tmp_path / "dataset.toml"
            path.write_text("\n".join(changed))
            try:
                read_description(path)
            except DataError as error:
                assert not re.search("unknown key|not valid TOML|in quotes, a number", str(error)), error


@pytest.mark.parametrize("name", FORMATS)
def test_each_key_of_the_files_of_a_format_is_explained(name):
    files = read_template(name).partition("[files]")[2].partition("\n[")[0]
    expected = {key for key in fields_by_key(FilesSection) if name in FORMATS_OF_KEY.get(key, FORMATS)}
    assert expected == set(re.findall(r"(?<![\w-])([a-z-]+) = ", files))


def test_an_unknown_format_is_answered_with_those_that_exist():
    result = CliRunner().invoke(app, ["dataset", "new", "dicom"])
    assert result.exit_code == 2 and "'wfdb', 'edf', 'csv', 'parquet', 'npy'" in result.output
