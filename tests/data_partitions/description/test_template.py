"""`condi dataset new` prints a description that is valid as it is."""

from typing import get_args

import pytest
from typer.testing import CliRunner

from data_partitions.description.reading import read_description
from data_partitions.description.source_sections import Format
from server_app.cli import app


@pytest.mark.parametrize("name", get_args(Format))
def test_the_template_of_each_format_is_a_valid_description(name, tmp_path):
    result = CliRunner().invoke(app, ["dataset", "new", name])
    assert result.exit_code == 0, result.output
    (tmp_path / "dataset.toml").write_text(result.output)
    assert read_description(tmp_path / "dataset.toml").files.format == name


def test_an_unknown_format_is_answered_with_those_that_exist():
    result = CliRunner().invoke(app, ["dataset", "new", "dicom"])
    assert result.exit_code == 2 and "'wfdb', 'edf', 'csv', 'parquet', 'npy'" in result.output
