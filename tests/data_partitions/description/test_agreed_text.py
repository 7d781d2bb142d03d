"""Equal agreements have equal texts, and a difference is named by its key."""

import pytest

from data_partitions.description.agreed_text import describe_difference
from data_partitions.description.reading import description_from_text, read_description
from tests.helpers.described import write_description

TEXT = """\
dataset.name = "holter"
dataset.version = "1"
window.length = "10 s"
window.patch = "80 ms"
signals.CC5.unit = "mV"
signals.CC5.rate = 250
signals.CC5.range = [-10, 10]
signals.CM5.unit = "mV"
signals.CM5.rate = 250
signals.CM5.range = [-10, 10]
task.kind = "single-label"
task.classes.sinus = ["SR", "N"]
task.classes.afib = ["AF"]
covariates.age.unit = "years"
"""


def agreed(folder, *changes):
    return read_description(write_description(folder, *changes)).agreed_text()


def test_the_text_has_a_line_for_each_agreed_setting_that_is_not_the_default(tmp_path):
    assert agreed(tmp_path) == TEXT


@pytest.mark.parametrize(
    "change",
    [
        ('"10 s"', '"10000 ms"'),
        ('"10 s"', '"10 s"\nstride = "10 s"'),
        ('"10 s"', '"10 s"\ntake = "all"'),
        ('"10 s"', '"10 s"\npatch = "0.08 s"'),
        ("rate = 250", "rate = 250.0"),
        ("[-10, 10]", "[-10.0, 1e1]"),
        ('like = "CC5"', 'range = [-10, 10]\nrate = 250\nunit = "mV"'),
        ('channels = ["CC5", "ch1"]', "scale = 0.5"),
        ("[covariates.age]", "[split]\nshares = { val = 0.15, test = 0.15, train = 0.7 }\n[covariates.age]"),
    ],
)
def test_other_ways_of_writing_the_same_and_local_settings_give_the_same_text(change, tmp_path):
    assert agreed(tmp_path, change) == TEXT


def test_the_description_of_a_text_has_that_text(tmp_path):
    changes = (
        ("[signals.CC5]", '[signals."a \\"b\\" = ü"]'),
        ('like = "CC5"', 'unit = "uV"\nrate = 0.1'),
        ('"10 s"', '"90 min"'),
        ("rate = 250", "rate = 0.2"),
        (
            'classes = { sinus = ["SR", "N"], afib = ["AF"] }',
            'classes = { "a.b" = ["\\u007f\\n"], c = ["d"] }',
        ),
    )
    text = agreed(tmp_path, *changes)
    assert description_from_text(text).agreed_text() == text


def test_the_columns_of_labels_are_local_and_their_names_are_agreed(tmp_path):
    change = (
        'kind = "single-label"\ncolumn = "label"\nclasses = { sinus = ["SR", "N"], afib = ["AF"] }',
        'kind = "multi-label"\ncolumns = { MI = "infarct", HYP = "hyp" }',
    )
    text = agreed(tmp_path, change)
    assert 'task.columns.MI = "MI"\ntask.columns.HYP = "HYP"\n' in text
    assert description_from_text(text).agreed_text() == text


@pytest.mark.parametrize(
    "change, sentence",
    [
        ((), ""),
        (
            ("[-10, 10]\n\n[signals.CM5]", "[-5, 5]\n\n[signals.CM5]\nrange = [-10, 10]"),
            "`signals.CC5.range`: [-5, 5], expected [-10, 10]",
        ),
        (('"10 s"', '"10 s"\ntake = "first"'), '`window.take`: "first", expected the default'),
        (('version = "1"\n', ""), '`dataset.version`: the default, expected "1"'),
        (
            ("[-10, 10]", "[-5, 5]"),
            "`signals.CC5.range`: [-5, 5], expected [-10, 10]; "
            "`signals.CM5.range`: [-5, 5], expected [-10, 10]",
        ),
        (
            ('sinus = ["SR", "N"], afib = ["AF"]', 'afib = ["AF"], sinus = ["SR", "N"]'),
            "the order of its settings: `task.classes.afib`, expected `task.classes.sinus`",
        ),
    ],
)
def test_a_difference_names_the_key_and_both_values(change, sentence, tmp_path):
    text = agreed(tmp_path, *([change] if change else []))
    assert describe_difference(text, TEXT) == sentence


@pytest.mark.parametrize(
    "differing, others", [(3, ""), (4, ", and 1 more setting"), (6, ", and 3 more settings")]
)
def test_up_to_three_differences_are_listed_and_the_others_counted(differing, others):
    text, expected = ("".join(f"signals.S{i}.rate = {r}\n" for i in range(differing)) for r in (1, 2))
    listed = "; ".join(f"`signals.S{i}.rate`: 1, expected 2" for i in range(3))
    assert describe_difference(text, expected) == listed + others
