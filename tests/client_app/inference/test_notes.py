"""Notes on files: equal sentences are said once."""

from pathlib import Path

from client_app.inference.notes import MAX_SENTENCES, Notes


def test_equal_sentences_are_said_once_with_the_number_of_files():
    notes = Notes()
    for name in ("a", "b", "c"):
        notes.add(Path(name), ["it is long", *(["it is odd"] if name == "b" else [])])
    assert notes.lines() == ["a and 2 more: it is long", "b: it is odd"]


def test_the_number_of_sentences_is_limited():
    notes = Notes()
    notes.add(Path("a"), [f"sentence {i}" for i in range(MAX_SENTENCES + 3)])
    assert len(notes.lines()) == MAX_SENTENCES + 1 and notes.lines()[-1] == "3 more notes are left out"
