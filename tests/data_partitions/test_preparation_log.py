import pytest
import typer

from data_partitions import DataError
from data_partitions.console import one_sentence_errors
from data_partitions.preparation_log import PreparationLog
from data_partitions.prepare_options import show_preparation
from tests.helpers.site_partition import write_site


def test_amounts_are_added_and_names_may_have_braces():
    log = PreparationLog()
    for amount in (1, 2.5, 0):
        log.count('{} windows are "{}" or {x}.', amount)
    log.count("{} recordings have no complete window.", 0)
    assert log.counted() == ['4 windows are "{}" or {x}.']


def test_one_is_singular():
    log = PreparationLog()
    for sentence in (
        "{} recordings have no complete window.",
        "{} recordings of less than 48 h are left out.",
        "{} recordings: resampled",
        "{} s at the end of recordings are left out.",
    ):
        log.count(sentence)
    assert log.counted() == [
        "1 recording has no complete window.",
        "1 recording of less than 48 h is left out.",
        "1 recording: resampled",
        "1 s at the end of recordings are left out.",
    ]


@pytest.mark.parametrize(
    ("rejected", "sentences", "end"),
    [
        ([], [], ""),
        ([], ["One is left out.", "2 h are missing"], ": One is left out; 2 h are missing"),
        (["a.csv is empty"], ["One is left out."], ": One is left out; the rejected record: a.csv is empty"),
        (["a is empty", "b is empty"], [], "; the first of 2 rejected records: a is empty"),
    ],
)
def test_reasons_are_the_end_of_one_sentence(rejected, sentences, end):
    assert PreparationLog(rejected=rejected).explain(sentences) == end


def test_texts_of_files_do_not_control_the_terminal(tmp_path, capsys):
    code = "\x1b]0;owned\x07\x1b[2J\ud800"
    log = PreparationLog(notes=[f"note {code}"], rejected=[f"{code} cannot be read"])
    log.count(f"{{}} rows of {code} are left out.", 2)
    show_preparation(write_site(tmp_path / "site-0"), log)
    with pytest.raises(typer.Exit), one_sentence_errors():
        raise DataError(f"{code} is not a number")
    for text in capsys.readouterr():
        assert "owned" in text and all(line.isprintable() for line in text.splitlines())
