"""Every problem of dataset.toml is a sentence with its line and what to write instead."""

import pytest

from data_partitions.description.reading import read_description
from data_partitions.errors import DataError
from tests.helpers.described import HOLTER, write_description


def complaint(folder, *changes, local=None) -> str:
    path = write_description(folder, *changes)
    with pytest.raises(DataError) as refusal:
        read_description(path, local)
    return str(refusal.value).replace(f"{folder}/", "")


def test_a_signal_has_the_fields_of_the_signal_that_it_is_like_but_not_its_channels(tmp_path):
    description = read_description(write_description(tmp_path, ('channels = ["CM5"]\n', "")))
    signal = description.signals["CM5"]
    assert (signal.unit, signal.rate, signal.range, signal.channels) == ("mV", 250, (-10, 10), ())


def test_like_is_followed_over_several_signals(tmp_path):
    chained = "[task]\nkind", '[signals.third]\nlike = "CM5"\nrate = 500\n[task]\nkind'
    signal = read_description(write_description(tmp_path, chained)).signals["third"]
    assert (signal.rate, signal.range) == (500, (-10, 10))


def test_numbers_dates_and_single_texts_stand_for_lists_of_texts(tmp_path):
    changes = (
        ('["SR", "N"]', "[1, 2]"),
        ('["AF"]', "3"),
        ('["CM5"]', '["C3", "-", "M2"]'),
        ('version = "1"', "version = 2026-01-31"),
    )
    description = read_description(write_description(tmp_path, *changes))
    assert description.task.classes == {"sinus": ("1", "2"), "afib": ("3",)}
    assert description.signals["CM5"].channels == (("C3", "-", "M2"),)
    assert description.dataset.version == "2026-01-31"


def test_a_file_with_a_byte_order_mark_is_read(tmp_path):
    (tmp_path / "dataset.toml").write_text(HOLTER, encoding="utf-8-sig")
    assert read_description(tmp_path / "dataset.toml").dataset.name == "holter"


def test_the_place_of_a_key_is_its_line_or_that_of_its_section(tmp_path):
    path = write_description(tmp_path, ('["SR", "N"]', '[\n "SR",\n "N"]'.replace("\n", "")))
    description = read_description(path)
    assert description.place("task.classes.sinus") == f"{path}, line 30"
    assert description.place("task.rule") == f"{path}, line 27"
    assert description.place("split.by") == f"{path}, line 1"


CASES = {
    "unknown key": (
        ('channels = ["CC5"', 'chanels = ["CC5"'),
        "dataset.toml, line 20: unknown key `chanels` in [signals.CC5]: did you mean `channels`?",
    ),
    "underscore": (
        ('column = "label"', 'file_unit = "label"'),
        "dataset.toml, line 29: unknown key `file_unit` in [task]: it belongs to [signals.NAME]",
    ),
    "key of another section": (
        ('kind = "single', 'stride = "5 s"\nkind = "single'),
        "dataset.toml, line 28: unknown key `stride` in [task]: it belongs to [window]",
    ),
    "unknown section": (
        ("[window]", "[windows]"),
        "dataset.toml, line 14: unknown key `windows`: did you mean `window`?",
    ),
    "missing section": (
        ('[window]\nlength = "10 s"\n', ""),
        "dataset.toml, line 1: the section [window] is missing: add it with `length`",
    ),
    "missing key": (
        ('length = "10 s"\n', ""),
        "dataset.toml, line 14: `length` in [window] is missing: add length = ... (Length of a window)",
    ),
    "word": (
        ('"single-label"', '"single label"'),
        'dataset.toml, line 28: `kind` in [task]: expected "none", "binary", "single-label", "multi-label", '
        '"ordinal" or "regression", got "single label": did you mean "single-label"?',
    ),
    "duration": (
        ('"10 s"', '"10 sec"'),
        'dataset.toml, line 15: `length` in [window]: expected a duration such as "10 s", "5 min", "24 h" or '
        '"2 d", got "10 sec"',
    ),
    "duration without a unit": (('"10 s"', "10"), 'got "10"'),
    "range in the wrong order": (
        ("[-10, 10]", "[10, -10]"),
        "dataset.toml, line 21: `range` in [signals.CC5]: expected the lowest value first, got 10 and -10",
    ),
    "range of one number": (("[-10, 10]", "[10]"), "expected the lowest and the highest value"),
    "infinite number": (("rate = 250", "rate = inf"), "line 19: `rate` in [signals.CC5]: expected"),
    "negative rate": (("rate = 250", "rate = -250"), "expected a number above 0, got -250"),
    "separator of two characters": (
        ("[table]\n", '[table]\nseparator = ";;"\n'),
        '`separator` in [table]: expected one character, such as ";" or "\\t", got \';;\'',
    ),
    "unknown encoding": (
        ("[table]\n", '[table]\nencoding = "latin9x"\n'),
        '`encoding` in [table]: expected an encoding, such as "utf-8" or "latin-1", got \'latin9x\'',
    ),
    "boolean": (
        ('"mV"', "true"),
        "dataset.toml, line 18: `signals.CC5.unit`: expected a number or a text in quotes, "
        'such as "True", got true',
    ),
    "boolean in a list": (('["AF"]', "[true]"), "`task.classes.afib`: expected a number or a text in quotes"),
    "text for a section": (("[window]\nlength", 'window = "10 s"\n[files2]\nlength'), "`window`"),
    "no unit": (('unit = "mV"\n', ""), "line 17: there is no unit: add unit ="),
    "no rate": (
        ("rate = 250\n", ""),
        "signal CC5 has no rate: add rate = ... (Hz), or grid = ... to [window]",
    ),
    "part of a sample": (
        ("rate = 250", "rate = 250.03"),
        "line 19: a window of 10 s has 2500.3 samples of CC5 at 250.03 Hz, expected a whole number",
    ),
    "patch with part of a sample": (
        ('"10 s"', '"10 s"\npatch = "0.05 s"'),
        "line 16: 50 ms has 12.5 samples of CC5, expected a whole number: "
        'write "auto", or a length such as "80 ms"',
    ),
    "patch that does not divide": (('"10 s"', '"10 s"\npatch = "3 s"'), "3 s is no whole part of the window"),
    "unknown signal in like": (('"CC5"\nch', '"CC6"\nch'), 'there is no signal "CC6": did you mean "CC5"?'),
    "circle": (
        ('unit = "mV"', 'like = "CM5"'),
        "CC5 is like CM5 is like CC5: write out the fields of one of them",
    ),
    "text of two classes": (
        ('["AF"]', '["AF", "N"]'),
        '"N" stands for sinus and afib: remove it from one of them',
    ),
    "no event": (
        (
            '"single-label"\ncolumn = "label"\nclasses = { sinus = ["SR", "N"], afib = ["AF"] }',
            '"binary"\ncolumn = "label"\nevent = []',
        ),
        "line 30: no text stands for the event: add one",
    ),
    "key of another kind": (
        ('column = "label"', 'column = "label"\nevent = ["x"]'),
        'line 30: `event` has no effect with kind = "single-label", only with kind binary and multi-label',
    ),
    "key of another format": (
        ('path = "{record}.hea"', 'path = "{record}.hea"\nseparator = ";"'),
        "line 8: `separator` has no effect on wfdb files, only on csv: remove it",
    ),
    "recordings in rows without times": (
        ('"wfdb"\npath = "{record}.hea"', '"csv"\nrate = 250\nrecord = "id"\npath = "all.csv"'),
        "line 8: files of several recordings have a time in each row: add time = ... to [files]",
    ),
    "labels from nowhere": (
        ('column = "label"\n', ""),
        "nothing says where the labels are: add column = ...",
    ),
    "shares": (
        ("[covariates.age]", "[split]\nshares = { train = 0.7, val = 0.2, test = 0.2 }\n[covariates.age]"),
        "`shares` in [split]: expected shares that add up to 1, got 1.1",
    ),
    "annotations that are not there": (
        ('"10 s"', '"10 s"\nalign = "annotations"'),
        'line 16: align = "annotations" needs a section [annotations]: add it',
    ),
    "unit that is not understood": (
        ('unit = "mV"', 'unit = "mvlots"'),
        'line 18: the unit "mvlots" is not understood, did you mean "',
    ),
    "unit of files that cannot be converted": (
        ('unit = "mV"', 'unit = "mV"\nfile-unit = "mmHg"'),
        'line 19: "mmHg" cannot be converted to "mV": expected a unit such as "',
    ),
    "no TOML": (
        ('unit = "mV"', "unit = mV"),
        "dataset.toml, line 18: expected a text in quotes, a number or a list after =, got `unit = mV`",
    ),
    "key twice": (
        ("rate = 250", "rate = 250\nrate = 500"),
        "dataset.toml, line 20: `rate = 500` is in the file twice: remove one of them",
    ),
    "name of a signal that is no file name": (
        ("[signals.CM5]", '[signals."a/b"]'),
        "expected a name without /",
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_a_wrong_line_is_named_with_what_to_write(case, tmp_path):
    change, sentence = CASES[case]
    assert sentence in complaint(tmp_path, change)


def test_all_problems_are_listed_in_the_order_of_the_file_and_at_most_ten(tmp_path):
    text = complaint(tmp_path, ('"10 s"', '"10"'), ("rate = 250", 'rate = "x"'), ("kind", "kid"))
    assert [line.partition(":")[0] for line in text.splitlines()] == [
        f"dataset.toml, line {line}" for line in (15, 19, 28)
    ]
    many = "".join(f"wrong{i} = 1\n" for i in range(14))
    text = complaint(tmp_path, ("unit = ", many + "unit = "))
    assert len(text.splitlines()) == 11 and text.endswith("and 4 more problems")


def test_a_file_that_cannot_be_read_is_one_sentence(tmp_path):
    with pytest.raises(DataError, match="there is no file .*: condi dataset new writes a template"):
        read_description(tmp_path / "dataset.toml")
    (tmp_path / "latin.toml").write_bytes('[dataset]\nname = "Müller"\n'.encode("latin-1"))
    with pytest.raises(DataError, match=r"latin.toml, line 2: expected text in UTF-8"):
        read_description(tmp_path / "latin.toml")
    (tmp_path / "empty.toml").write_text("")
    with pytest.raises(DataError, match=r"the section \[dataset\] is missing: add it with `name`"):
        read_description(tmp_path / "empty.toml")


def test_a_unit_of_a_channel_that_the_signal_does_not_have_is_refused(tmp_path):
    rated = 'rate = 250\nchannels = ["CC5", "ch1"]'
    unrated = 'channels = ["CC5", "ch1"]\nchannel-units = { ch2 = "uV" }'
    sentence = complaint(tmp_path, (rated, unrated), ("[window]\n", '[window]\ngrid = "1 s"\n'))
    assert '`channel-units` names "ch2", which is no channel of signal CC5: did you mean "ch1"?' in sentence


def test_a_duration_without_a_unit_is_refused(tmp_path):
    for number in ("7200", "7200.0"):
        sentence = complaint(tmp_path, ('length = "10 s"', f"length = {number}"))
        assert f'expected a duration such as "10 s", "5 min", "24 h" or "2 d", got "{number}"' in sentence
