"""A hospital's own file replaces what is local, and nothing that is agreed."""

import pytest

from data_partitions.description.reading import description_from_text, read_description
from data_partitions.errors import DataError
from tests.helpers.described import write_description


@pytest.fixture
def local(tmp_path):
    def write(text):
        path = tmp_path / "here.toml"
        path.write_text(text)
        return path

    return write


def test_local_settings_replace_those_of_the_agreed_file(tmp_path, local):
    own = local('[table]\npatient = "pid"\n[signals.CM5]\nchannels = ["lead 2"]\nfile-unit = "uV"\n')
    agreed = write_description(tmp_path)
    description = read_description(agreed, own)
    assert description.table.patient == "pid" and description.table.record == "record"
    assert description.signals["CM5"].channels == ("lead 2",)
    assert description.signals["CC5"].channels == ("CC5", "ch1")
    assert description.agreed_text() == read_description(agreed).agreed_text()
    assert description.place("signals.CM5.channels") == f"{own}, line 4"


def test_files_of_another_format_are_described_by_the_local_file_alone(tmp_path, local):
    agreed = write_description(
        tmp_path,
        ('"wfdb"\npath = "{record}.hea"', '"csv"\nrate = 250\nseparator = ";"\npath = "{record}.csv"'),
    )
    own = local('[files]\nformat = "edf"\npath = "{record}.edf"\n')
    assert read_description(agreed, own).files.separator == ","


@pytest.mark.parametrize(
    "text, sentence",
    [
        (
            '[signals.CC5]\nunit = "uV"\n',
            "line 2: `signals.CC5.unit` is agreed between the hospitals: remove it",
        ),
        (
            "[signals.CC6]\nscale = 2\n",
            'line 2: there is no signal "CC6" in the agreed file: did you mean "CC5"?',
        ),
        ("[signals.CC5]\nscal = 2\n", "line 2: unknown key `scal` in [signals.CC5]: did you mean `scale`?"),
        ('[windows]\nlength = "5 s"\n', "line 1: unknown key `windows`: did you mean `window`?"),
        ('[table]\nsites = { a = "x" }\n[task]\nkind = "none"\n', "line 4: `task.kind` is agreed"),
        ('[task.columns]\nx = "a"\n', 'line 2: there is no label "x" in the agreed file'),
        ("files = 3\n", "line 1: expected a section [files], got 3"),
        ('[table]\npatient = ["a"]\n', "line 2: `patient` in [table]: expected a text in quotes, got ['a']"),
    ],
)
def test_what_a_local_file_may_not_have_is_one_sentence_with_its_line(text, sentence, tmp_path, local):
    with pytest.raises(DataError) as refusal:
        read_description(write_description(tmp_path), local(text))
    assert sentence in str(refusal.value) and "here.toml" in str(refusal.value)


def test_the_description_of_a_model_takes_local_settings(tmp_path, local):
    text = read_description(write_description(tmp_path)).agreed_text()
    own = local('[files]\nformat = "edf"\npath = "*.edf"\n[signals.CC5]\nchannels = ["EKG"]\n')
    description = description_from_text(text, own)
    assert description.files.format == "edf" and description.signals["CC5"].channels == ("EKG",)
    assert description.agreed_text() == text
