"""The reference in docs/reference/dataset.md is that of the sections."""

from pathlib import Path

import pytest

from data_partitions.description.reference import field_texts, write_reference
from data_partitions.description.section import fields_by_key, section_class
from data_partitions.description.sections import Description

PAGE = Path(__file__).parents[3] / "docs" / "reference" / "dataset.md"
SECTIONS = {
    key: section_class(Description, (key,)) or section_class(Description, (key, ""))
    for key in fields_by_key(Description)
}


@pytest.mark.parametrize("name", SECTIONS)
def test_each_key_of_a_section_is_explained(name):
    assert list(field_texts(SECTIONS[name])) == list(fields_by_key(SECTIONS[name]))


def test_the_page_has_the_reference_of_the_sections():
    """To update it, replace the part between the two marks by what `write_reference(Description)` returns."""
    _, _, text = PAGE.read_text(encoding="utf-8").partition("<!-- reference -->\n")
    assert text.partition("<!-- end of the reference -->")[0].strip() == write_reference(Description).strip()
