"""Blocks of TOML in documents are valid files of the kind that their titles name."""

import tomllib

import pytest

from client_app.node.site_policy import read_policy
from data_partitions.description.reading import description_from_text
from server_app.study.design import read_study
from tests.helpers.documents import DOCUMENTS, name_of, read_blocks
from tests.helpers.run_settings import PROJECT

TITLED = [(path, block) for path in DOCUMENTS for block in read_blocks(path, "toml")]


@pytest.mark.parametrize(
    ("path", "block"), TITLED, ids=lambda x: name_of(x) if hasattr(x, "parts") else x.title
)
def test_a_block_of_toml_is_what_its_title_says(path, block, tmp_path):
    if block.title == "site-policy.toml":
        (tmp_path / block.title).write_text(block.text)
        read_policy(tmp_path / block.title)
    elif block.title == "dataset.toml":
        description_from_text(block.text)
    elif block.title == "pyproject.toml":
        assert block.text in (PROJECT / "examples" / "own-method" / "pyproject.toml").read_text()
    elif block.title == "study.toml":  # a part of a study, whose other tables are those of a small one
        quick = tomllib.loads((PROJECT / "server_app" / "study" / "presets" / "quick.toml").read_text())
        read_study(quick | tomllib.loads(block.text))
    else:
        pytest.fail(f"{path} has a block of TOML without one of the titles that this test knows")
