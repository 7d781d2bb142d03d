"""`condi dataset new` prints a description that is valid as it is."""

import tomllib
from typing import get_args

import pytest
from typer.testing import CliRunner

from data_partitions.description.sections import Description, Format
from server_app.cli import app


@pytest.mark.parametrize("name", get_args(Format))
def test_the_template_of_each_format_is_a_valid_description(name):
    result = CliRunner().invoke(app, ["dataset", "new", name])
    assert result.exit_code == 0, result.output
    assert Description.model_validate(tomllib.loads(result.output)).files.format == name


def test_an_unknown_format_is_answered_with_those_that_exist():
    result = CliRunner().invoke(app, ["dataset", "new", "dicom"])
    assert result.exit_code == 2 and "'wfdb', 'edf', 'csv', 'parquet', 'npy'" in result.output
