"""Columns of csv files are read as channels on a grid of time; only missing cells of a copy are filled."""

import gzip

import numpy as np
import pytest

from data_partitions.errors import DataError
from data_partitions.recordings import csv_output, csv_table, open_recording
from tests.helpers.completion import complete

HOURS = "hour,HR (bpm),Lactate\n0,81.50,\n2,,2.10\n3,NA,1e0\n"


def write(folder, text, name="stay.csv", encoding="utf-8"):
    folder.mkdir(exist_ok=True)
    (folder / name).write_bytes(text.encode(encoding))
    return folder / name


def complete_text(file, folder, value, **options):
    """Complete a file in stretches of 3 rows; return the copy's text."""
    copy = complete(file, folder, value, stretch=3, **options)
    return copy.read_bytes().decode(options.get("encoding", "utf-8"))


@pytest.fixture(params=[3, 1 << 14])
def blocks(request, monkeypatch):
    monkeypatch.setattr(csv_table, "BLOCK_ROWS", request.param)
    monkeypatch.setattr(csv_output, "BLOCK_NUMBERS", request.param)


@pytest.mark.usefixtures("blocks")
def test_steps_without_a_row_are_missing(tmp_path):
    recording = open_recording(write(tmp_path, HOURS))
    heart, lactate = recording.channels
    assert (heart.name, heart.unit, lactate.unit, heart.rate, heart.samples) == ("HR", "bpm", "", 1 / 3600, 4)
    np.testing.assert_array_equal(recording.read(0, 0, 4), [81.5, np.nan, np.nan, np.nan])
    np.testing.assert_array_equal(recording.read(1, -1, 6), [np.nan] * 3 + [2.1, 1.0] + [np.nan] * 2)


@pytest.mark.usefixtures("blocks")
def test_a_copy_retains_the_text_of_measured_values(tmp_path):
    file = write(tmp_path / "in", HOURS)
    text = complete_text(file, tmp_path / "out", lambda channel, at: [at + 70.25, 1.75][channel])
    assert text == "hour,HR (bpm),Lactate\n0,81.50,1.75\n1,71.25,1.75\n2,72.25,2.10\n3,73.25,1e0\n"
    twice = complete_text(tmp_path / "out" / "stay.csv", tmp_path / "again", lambda channel, at: 5)
    assert twice == text


@pytest.mark.usefixtures("blocks")
def test_all_other_text_stays(tmp_path):
    text = (
        '\ufeff"hour";"HR (bpm)" ;"Note, ""free""";Käfig\r\n0; 81,50 ;"stable; at ""rest""";-999\r\n\r\n'
        '1;"";"two\r\nlines";"nan"\r\n2;-9,99e2;;0'
    )
    options = dict(separator=";", decimal=",", missing=["", "-999"])
    for encoding in ("utf-8", "utf-16"):
        file = write(tmp_path / f"in {encoding}", text.replace("\ufeff", "") if "16" in encoding else text,
                     encoding=encoding)  # fmt: skip
        completed = complete_text(
            file, tmp_path / f"out {encoding}", lambda channel, at: 0 if channel == 2 else at + 0.5,
            encoding=encoding, **options,
        )  # fmt: skip
        expected = text.replace('1;""', "1;1,5").replace("-9,99e2", "2,5").replace(";-999", ";0")
        expected = expected.replace(';"nan"', ";0").replace(";;0", ";2,5;0")
        assert completed.replace("\ufeff", "") == expected.replace("\ufeff", "")


def test_a_column_of_text_does_no_harm_until_it_is_read(tmp_path):
    file = write(tmp_path / "in", "hour,HR,Note\n0,80,stable\n1,,better\n")
    text = complete_text(file, tmp_path / "out", lambda channel, at: 81 if channel == 0 else np.nan)
    assert text == "hour,HR,Note\n0,80,stable\n1,81,better\n"
    with pytest.raises(DataError, match='row 2 has "stable" for Note, expected a number'):
        open_recording(file).read(1, 0, 2)


@pytest.mark.parametrize(
    "header, times, unit, rate",
    [
        ("hour", [0, 1, 2], "", 1 / 3600),
        ("Hours since admission", [0, 2, 4], "", 1 / 3600),
        ("hour", [0, 0.5, 1], "", 1 / 1800),
        ("minute", [0, 60, 120], "", 1 / 3600),
        ("time (min)", [0, 5, 15], "", 1 / 300),
        ("offset_seconds", [0, 1, 2], "", 1),
        ("time", [0, 60, 120], "min", 1 / 3600),
        ("time", [0, 0.25], "d", 1 / 21600),
        ("charttime", ["2150-01-31 12:00:00", "2150-01-31 13:00:00", "2150-01-31 15:00"], "", 1 / 3600),
        ("charttime", ["2150-01-31T23:59:30Z", "2150-02-01T00:00:00Z"], "datetime", 1 / 30),
    ],
)
def test_the_unit_of_times_is_read_from_the_header_the_option_or_the_cells(
    tmp_path, header, times, unit, rate
):
    rows = "".join(f"{time},{k}\n" for k, time in enumerate(times))
    options = {"time_unit": unit} if unit else {}
    recording = open_recording(write(tmp_path, f"{header},HR\n{rows}"), **options)
    (channel,) = recording.channels
    assert channel.rate == pytest.approx(rate, rel=1e-9)
    values = recording.read(0, 0, channel.samples)
    np.testing.assert_array_equal(values[~np.isnan(values)], range(len(times)))
    assert values[-1] == len(times) - 1 and values[0] == 0
    assert (recording.start is None) == (not isinstance(times[0], str))
    if recording.start:
        assert recording.start.isoformat()[:16] in ("2150-01-31T12:00", "2150-01-31T23:59")


@pytest.mark.usefixtures("blocks")
def test_rows_may_be_in_any_order_and_stay_in_it(tmp_path):
    text = "hour,HR,Temp\n5,85,\n2,,37.5\n3,83,37\n0,80,36.5\n"
    file = write(tmp_path / "in", text)
    recording = open_recording(file)
    np.testing.assert_array_equal(recording.read(0, 0, 6), [80, np.nan, np.nan, 83, np.nan, 85])
    np.testing.assert_array_equal(recording.read(1, 1, 4), [np.nan, 37.5, 37])
    assert recording.notes[0] == "Times go back in 2 rows."
    copy = complete_text(file, tmp_path / "out", lambda channel, at: 100 * (channel + 1) + at)
    assert copy == text.replace("5,85,", "5,85,205").replace("2,,37.5", "2,102,37.5")


@pytest.mark.usefixtures("blocks")
def test_times_in_several_columns_or_as_a_clock(tmp_path):
    rows = ["31.01.2150,23:00,1", "01.02.2150,01:00,3", "01.02.2150,00:00,"]
    file = write(tmp_path / "in", "\n".join([" date ,clock,HR", *rows]) + "\n")
    options = {"time": "{date} {clock}", "time_unit": "datetime", "time_format": "%d.%m.%Y %H:%M"}
    recording = open_recording(file, **options)
    assert [channel.name for channel in recording.channels] == ["HR"]
    assert recording.start.isoformat() == "2150-01-31T23:00:00"
    np.testing.assert_array_equal(recording.read(0, 0, 3), [1, np.nan, 3])
    copy = complete_text(file, tmp_path / "out", lambda channel, at: at + 1, **options)
    assert copy.endswith("01.02.2150,00:00,2\n")

    text = "time,HR\n00:00,1\n00:20,\n26:00:00,3\n"
    file = write(tmp_path / "in", text, "clock.csv")
    recording = open_recording(file)
    (heart,) = recording.channels
    assert (heart.samples, heart.rate, recording.start) == (79, 1 / 1200, None)
    assert recording.read(0, 78, 79) == [3]
    # No row is added, as it would need the same form of time.
    assert complete_text(file, tmp_path / "again", lambda channel, at: 2) == text.replace("00:20,", "00:20,2")


def test_minutes_never_become_hours(tmp_path):
    rows = "".join(f"{60 * hour},{80 + hour}\n" for hour in range(48))
    with pytest.raises(DataError, match='unit of the column "time" is not known'):
        open_recording(write(tmp_path, f"time,HR\n{rows}"))
    file = write(tmp_path / "in", f"minute,HR\n{rows}2825,\n")
    text = complete_text(file, tmp_path / "out", lambda channel, at: 1.0)
    assert text == f"minute,HR\n{rows}2825,1\n"
    assert open_recording(file).notes == ("Steps of time without a row are missing time.",)


def test_a_rate_in_the_options_is_the_grid(tmp_path):
    file = write(tmp_path, "t,ECG\n0.000,1\n0.003,2\n0.006,3\n0.011,4\n")
    recording = open_recording(file, time="t", time_unit="s", rate=360)
    np.testing.assert_array_equal(recording.read(0, 0, 5), [1, 2, 3, np.nan, 4])
    file = write(tmp_path, "a,b\n1,2\n,4\n5,6\n")
    recording = open_recording(file, rate=250)
    assert [(c.name, c.rate, c.samples) for c in recording.channels] == [("a", 250, 3), ("b", 250, 3)]
    np.testing.assert_array_equal(recording.read(0, 0, 3), [1, np.nan, 5])
    assert complete_text(file, tmp_path / "out", lambda channel, at: 7, rate=250) == "a,b\n1,2\n7,4\n5,6\n"


def test_compressed_files_stay_compressed(tmp_path):
    file = tmp_path / "stay.csv.gz"
    file.write_bytes(gzip.compress(HOURS.encode()))
    recording = open_recording(file)
    np.testing.assert_array_equal(recording.read(1, 0, 4), [np.nan, np.nan, 2.1, 1.0])
    copy = complete(file, tmp_path / "out", lambda channel, at: 1.75 if channel else np.nan)
    expected = "hour,HR (bpm),Lactate\n0,81.50,1.75\n1,,1.75\n2,,2.10\n3,NA,1e0\n"
    assert gzip.decompress(copy.read_bytes()).decode() == expected


def test_a_long_table_is_on_disk(tmp_path, monkeypatch):
    monkeypatch.setattr(csv_table, "HELD_BYTES", 100)
    monkeypatch.setattr(csv_table, "BLOCK_ROWS", 64)
    values = np.random.default_rng(0).normal(size=(1000, 3)).round(4)
    rows = "".join(f"{a},{b},{c}\n" for a, b, c in values.tolist())
    recording = open_recording(write(tmp_path, f"a,b,c\n{rows}"), rate=100)
    for channel in range(3):
        np.testing.assert_array_equal(recording.read(channel, 30, 700), values[30:700, channel])


@pytest.mark.parametrize(
    "text, sentence",
    [
        ("HR,hour\n1,2\n", 'the first column must be the time, such as "hour"'),
        ("hour,HR\n-1,3\n", 'row 2 has the hour "-1"'),
        ("hour,HR\n1,3\n0,2\n1.0,4\n", 'rows 2 and 4 have the hour "1" and "1.0", which are the same time'),
        ("time,HR\n23:00,1\n00:00,2\n", 'row 3 has the time "00:00" after "23:00", expected the time since'),
        ("hour,HR\n0,3,4\n", "row 2 has 3 cells"),
        ("hour,HR,HR\n0,3,4\n", "two columns of the same name"),
        ("hour,HR\n", "no rows"),
        ("hour\n0\n", "no column of a variable"),
        ("", "the first column"),
        ("hour;HR\n0;3\n", "give separator = ';' in the description"),
        ("hour,HR\n0,1\n0.33333,1\n", "on no regular grid"),
        ("time,HR\n2150-31-01 12:00,1\n", 'row 2 has the time "2150-31-01 12:00", expected a time stamp'),
        ("hour,HR\n0,\0\n1,fast\n", 'row 2 has "'),
        ("hour,HR\n0,1\n1,fast\n", 'row 3 has "fast" for HR'),
        ("hour,HR\n0,inf\n", 'row 2 has "inf" for HR, expected a number'),
        ("hour,HR\n0,1.79769313486231E+308\n", "too large for a number of 32 bits"),
        ("hour,HR\n0,1e400\n", 'row 2 has "1e400" for HR'),
        ("hour,HR\n0,1.234,5\n", "row 2 has 3 cells"),
    ],
)
def test_an_invalid_csv_is_refused(tmp_path, text, sentence):
    with pytest.raises(DataError, match="stay.csv") as error:
        open_recording(write(tmp_path, text)).read(0, 0, 9)
    assert sentence in str(error.value) and "\n" not in str(error.value)


def test_another_encoding_is_refused_and_read_when_stated(tmp_path):
    file = write(tmp_path, "hour,Käfig\n0,1\n", encoding="latin-1")
    with pytest.raises(DataError, match="is not text in utf-8"):
        open_recording(file)
    assert open_recording(file, encoding="latin-1").channels[0].name == "Käfig"


def test_a_filled_cell_never_has_a_code_for_a_missing_value(tmp_path):
    file = write(tmp_path, "hour,HR\n0,5\n1,\n2,0\n3,6\n")
    for value, cell in ((0.0, "1e-05"), (-1.0, "-0.99999"), (-1.0000001, "-0.99999"), (2.0, "2")):
        text = complete_text(file, tmp_path / str(value), lambda *_, value=value: value, missing=("0", "-1"))
        assert text == f"hour,HR\n0,5\n1,{cell}\n2,{cell}\n3,6\n"


def test_blanks_around_names_and_cells_with_none_do_no_harm(tmp_path):
    file = write(tmp_path, "hour , HR\n0,None\n1,5\n")
    for options in ({}, {"time": "hour", "time_unit": "h"}):
        recording = open_recording(file, **options)
        assert [channel.name for channel in recording.channels] == ["HR"]
        np.testing.assert_array_equal(recording.read(0, 0, 2), [np.nan, 5])
    assert complete_text(file, tmp_path / "out", lambda *_: 7) == "hour , HR\n0,7\n1,5\n"
