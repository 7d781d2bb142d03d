import pytest

from data_partitions.sentences import count_noun, list_some, shorten, suggest


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("HR\n\x1b[31m  (1/min)", "HR [31m (1/min)"),
        ("a" * 10, "a" * 10),
        ("a" * 11, "a" * 10 + "..."),
        (" \n" * 10**6 + "a", ""),
        (ValueError("two\nlines"), "two lines"),
    ],
)
def test_texts_of_files_are_short_and_on_one_line(text, expected):
    assert shorten(text, 15 if "HR" in str(text) else 10) == expected


def test_nouns_are_counted():
    nouns = [count_noun(n, noun) for n, noun in [(1, "class"), (2, "class"), (3, "category"), (0, "stay")]]
    assert nouns == ["1 class", "2 classes", "3 categories", "0 stays"]


def test_long_lists_are_cut():
    assert list_some("abc") == "a, b, c" and list_some("abcde", 2) == "a, b and 3 more"


@pytest.mark.parametrize(("word", "hint"), [("hr ", ': did you mean "HR"?'), ("xyz", "")])
def test_the_nearest_word_is_suggested(word, hint):
    assert suggest(word, ["HR", "temp"]) == hint
