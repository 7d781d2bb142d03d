"""Tables over time as people write them: separators, decimals, encodings, times, and what is dropped."""

import gzip
import io
import tarfile
from datetime import UTC, date, datetime, time

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from data_partitions import DataError
from data_partitions.events.files import EventFile
from data_partitions.events.recordings import index_recordings
from data_partitions.preparation_log import PreparationLog
from tests.helpers.event_tables import describe, read_table, write

NAN = np.nan
SIGNALS = {"HR": {"unit": "bpm", "range": [1, 300]}, "Temp": {"unit": "degC", "channels": ["temp", "T (C)"]}}
WIDE = "time,HR,temp\n0,80,36.5\n0.5,82,\n1.25,,37\n3.99,90,38.25\n"
LONG = (
    "time;name;x;unit\n0;HR;80;\n0;temp;36,5;°C\n0.5;HR;82;bpm\n1.25;T (C);98,6;°F\n3.99;HR;90;\n"
    "3.99;temp;38,25;°C\n"
)
EXPECTED = [[82, NAN, NAN, 90], [36.5, 37, NAN, 38.25]]


def assert_values(windows, *expected):
    np.testing.assert_allclose(windows, np.array(expected), atol=1e-5)


def test_wide_csv(tmp_path):
    assert_values(read_table(describe({}, SIGNALS), [write(tmp_path / "a.csv", WIDE)]), EXPECTED)


def test_names_match_in_any_case_but_not_by_their_beginnings(tmp_path):
    text = WIDE.replace("HR", "hr").replace("temp", " Temp") + "\n"
    assert_values(read_table(describe({}, SIGNALS), [write(tmp_path / "a.csv", text)]), EXPECTED)
    with pytest.raises(DataError, match="has no column of a signal: it has time, HR_alarm, temperature"):
        read_table(
            describe({}, SIGNALS),
            [write(tmp_path / "b.csv", WIDE.replace("HR", "HR_alarm").replace("temp", "temperature"))],
        )
    with pytest.raises(DataError, match="has columns HR and hr of one channel"):
        read_table(describe({}, SIGNALS), [write(tmp_path / "c.csv", WIDE.replace("temp", "hr"))])


def test_long_csv_with_units_by_row_and_decimal_commas(tmp_path):
    files = {"variable": "name", "value": "x", "value-unit": "unit", "separator": ";", "decimal": ","}
    assert_values(read_table(describe(files, SIGNALS), [write(tmp_path / "a.csv", LONG)]), EXPECTED)


def test_points_between_thousands_are_no_decimals_where_these_have_commas(tmp_path):
    log = PreparationLog()
    text = LONG.replace("0;HR;80;", "0;HR;1.070;").replace("36,5", "1.036,5")
    files = {"variable": "name", "value": "x", "value-unit": "unit", "separator": ";", "decimal": ","}
    windows = read_table(describe(files, SIGNALS), [write(tmp_path / "a.csv", text)], log=log)
    assert_values(windows, [[82, NAN, NAN, 90], [NAN, 37, NAN, 38.25]])
    assert any("2 cells" in note and '"1.070"' in note for note in log.notes)


@pytest.mark.parametrize(
    ("encoding", "text"),
    [
        ("utf-8-sig", WIDE),
        ("utf-16", WIDE.replace("temp", "T (C)")),
        ("latin-1", WIDE.replace("temp", "T (C),°")),
        ("utf-8", WIDE.replace("\n", "\r\n")),
        ("utf-8", WIDE.replace("\n", "\r")),
        ("utf-8", WIDE.replace("\n", "\n\n")),
        ("utf-8", WIDE.replace("time,HR,temp", '"time"," HR ","temp"').replace("80", '"80"')),
        ("utf-8", WIDE.rstrip()),
    ],
)
def test_encodings_and_line_ends(tmp_path, encoding, text):
    if "°" in text:
        text = text.replace("\n", ",x\n").replace("°,x\n", "°\n")
    description = describe({"encoding": encoding}, SIGNALS)
    files = [write(tmp_path / name, text, encoding) for name in ("a.csv", "b.csv")]
    assert_values(read_table(description, files), EXPECTED, EXPECTED)


def test_large_files_are_read_in_parts_and_small_ones_together(tmp_path, monkeypatch):
    rng = np.random.default_rng(0)
    rows = [(f"r{i % 7}", f"{t:.4f}", f"{v:.3f}") for i, (t, v) in enumerate(rng.random((4000, 2)) * [4, 50])]
    header = "id,time,HR"
    whole = write(tmp_path / "all.csv", "\n".join([header, *(",".join(row) for row in rows)]) + "\n")
    singles = [
        write(tmp_path / f"r{n}.csv", "\n".join([header, *(",".join(r) for r in rows if r[0] == f"r{n}")]))
        for n in range(7)
    ]
    description = describe({"record": "id"}, {"HR": {"within": "median"}})
    starts = {f"r{n}": 0.0 for n in range(7)}
    together = read_table(description, singles, starts)
    monkeypatch.setattr("data_partitions.events.csv_rows.SMALL_FILE_BYTES", 100)
    monkeypatch.setattr("data_partitions.events.csv_rows.BLOCK_BYTES", 1000)
    np.testing.assert_array_equal(read_table(description, [EventFile(whole.path)], starts), together)
    np.testing.assert_array_equal(read_table(description, singles, starts), together)


def test_compressed_files_and_members_of_archives(tmp_path):
    (tmp_path / "a.csv.gz").write_bytes(gzip.compress(WIDE.encode()))
    with tarfile.open(tmp_path / "all.tar.gz", "w:gz") as archive:
        for name in ("x/b.csv", "x/a.csv"):
            info = tarfile.TarInfo(name)
            info.size = len(WIDE)
            archive.addfile(info, io.BytesIO(WIDE.encode()))
    files = [EventFile(tmp_path / "a.csv.gz", "a")]
    files += [EventFile(tmp_path / "all.tar.gz", f"m{n}", f"x/{n}.csv") for n in "ab"]
    assert_values(read_table(describe({}, SIGNALS), files), EXPECTED, EXPECTED, EXPECTED)


def test_parquet_with_time_stamps_and_numbers_as_ids(tmp_path):
    start = np.datetime64("2150-01-31T22:00:00")
    table = pa.table(
        {
            "stay": [7, 7, 7, 8],
            "time": start + np.array([0, 30, 75, 239]) * np.timedelta64(1, "m"),
            "HR": pa.array([80, 82, None, 90]),
            "temp": pa.array([36.5, None, 37, 38.25], pa.float32()),
        }
    )
    pq.write_table(table, tmp_path / "all.parquet", row_group_size=2)
    description = describe({"format": "parquet", "record": "stay", "time-unit": "datetime"}, SIGNALS)
    starts = {
        "7": start.astype("datetime64[s]").astype(float),
        "8": start.astype("datetime64[s]").astype(float),
    }
    first, second = read_table(description, [EventFile(tmp_path / "all.parquet")], starts)
    assert_values(first, [82, NAN, NAN, NAN], [36.5, 37, NAN, NAN])
    assert_values(second, [NAN, NAN, NAN, 90], [NAN, NAN, NAN, 38.25])


TIMES = {  # unit and format: the times 0:00, 0:30, 1:15 and 3:59
    ("datetime", ""): "2024-03-01 23:00|2024-03-01 23:30|2024-03-02 00:15|2024-03-02 02:59:24",
    (
        "datetime",
        "ISO8601",
    ): "2024-03-01T23:00+01:00|2024-03-01T22:30Z|2024-03-01T23:15Z|2024-03-02T03:59+0200",
    ("datetime", "%d.%m.%Y %H:%M"): "01.03.2024 23:00|01.03.2024 23:30|02.03.2024 00:15|02.03.2024 02:59",
    (
        "datetime",
        "%m/%d/%y %I:%M %p",
    ): "03/01/24 11:00 PM|03/01/24 11:30 PM|03/02/24 12:15 AM|03/02/24 02:59 AM",
    ("min", ""): "0|30|75|239",
    ("s", ""): "0|1800|4.5e3|14340",
    ("d", ""): "0|0.020833333|0.05208334|0.166",
    ("h", ""): "00:00|00:30|01:15|3:59:59.9",
}


@pytest.mark.parametrize(("unit", "format"), TIMES)
def test_times(tmp_path, unit, format):
    times = TIMES[unit, format].split("|")
    cells = ["80,36.5", "82,", ",37", "90,38.25"]
    text = "time,HR,temp\n" + "".join(f"{t},{c}\n" for t, c in zip(times, cells, strict=True))
    description = describe({"time-unit": unit, "time-format": format.replace("ISO8601", "")}, SIGNALS)
    file = write(tmp_path / "a.csv", text)
    first = index_recordings([file], description.files, PreparationLog(strict=True))["first_us"]["a"]
    assert_values(read_table(description, [file], {"a": first / 1e6}), EXPECTED)


def test_dates_times_durations_and_ids_of_unusual_parquet_types(tmp_path):
    hours = [0, 1, 2, 3]
    values, ids = pa.array([1.0, 2, 3, 4]), pa.array(["a"] * 4).cast(pa.string_view())

    def read(columns, **files):
        pq.write_table(pa.table({"HR": values, **columns}), tmp_path / "a.parquet")
        description = describe({"format": "parquet", "record": "id", **files}, {"HR": {"unit": "bpm"}})
        return read_table(description, [EventFile(tmp_path / "a.parquet")], {"a": start}).tolist()

    start = datetime(2026, 1, 1, tzinfo=UTC).timestamp()
    columns = {
        "id": ids,
        "d": pa.array([date(2026, 1, 1)] * 4),
        "c": pa.array([time(hour) for hour in hours]),
    }
    assert read(columns, **{"time": "{d} {c}", "time-unit": "datetime"}) == [[[1, 2, 3, 4]]]
    start = 0.0
    columns = {"id": ids, "time": pa.array([3600 * hour for hour in hours], pa.duration("s"))}
    assert read(columns) == [[[1, 2, 3, 4]]]
    with pytest.raises(DataError, match="expected time stamps, but the column has durations"):
        read(columns, **{"time-unit": "datetime"})
    with pytest.raises(DataError, match="a column has the type list.*where texts or numbers were expected"):
        read({**columns, "id": pa.array([["a"]] * 4)})
    with pytest.raises(DataError, match="a column has the type binary"):
        read({**columns, "id": pa.array([b"\xff"] * 4)})


def test_date_and_time_in_two_columns(tmp_path):
    text = "day,clock,HR\n2024-03-01,23:00,80\n2024-03-02,00:15,82\n"
    description = describe({"time": "{day} {clock}", "time-unit": "datetime"}, {"HR": {}})
    file = write(tmp_path / "a.csv", text)
    first = index_recordings([file], description.files, PreparationLog())["first_us"]["a"]
    assert_values(read_table(description, [file], {"a": first / 1e6}), [[80, 82, NAN, NAN]])


def test_what_is_dropped_is_counted_with_an_example(tmp_path):
    text = (
        "time,HR,temp\n0,<5,36.5\n0.5,1e300,NA\n1,inf,-999.0\n,70,\nnoon,70,\n2,9000,37\n2.5,2\n-1,70,\n"
        "4,70,\n3,80,36\n"
    )
    log = PreparationLog(strict=True)
    description = describe({"missing": ["", "NA", "-999"]}, SIGNALS)
    windows = read_table(description, [write(tmp_path / "a.csv", text)], log=log)
    assert_values(windows, [[NAN, NAN, NAN, 80], [36.5, NAN, 37, 36]])
    assert sorted(note.split(" (first")[0].rstrip(".") for note in log.notes) == [
        "Dropped because they are outside the range of their signal: HR 1",
        "Dropped, after the last window, or between windows: 1 value",
        "Dropped, as the time cannot be read: 1 row",
        "Dropped, before the first window: 1 value",
        "Dropped, infinite or beyond what 32 bits hold: 2 numbers",
        "Dropped, not a number: 1 cell",
        "Dropped, with more or fewer cells than the header: 1 row",
        "Dropped, without a time: 1 row",
        "Times go back in 2 rows",
    ]
    assert any(note.endswith("a.csv, row 2, column HR: 1e+300).") for note in log.notes)
    assert any(note.endswith('a.csv, row 1, column HR: "<5").') for note in log.notes)


def test_a_file_that_cannot_be_read_is_named_and_the_others_are_read(tmp_path):
    files = [
        write(tmp_path / "good.csv", WIDE),
        write(tmp_path / "latin.csv", WIDE.replace("80", "80é"), "latin-1"),
        write(tmp_path / "empty.csv", ""),
        write(tmp_path / "dates.csv", WIDE.replace("\n0,", "\n31/12/2024 10:00,").replace("\n0.5,", "\n,")
              .replace("\n1.25,", "\n,").replace("\n3.99,", "\n31/12/2024 11:00,")),
        write(tmp_path / "without.csv", WIDE.replace("time", "times")),
        write(tmp_path / "twice.csv", WIDE.replace("temp", "HR")),
        write(tmp_path / "others.csv", "time,BP\n0,1\n"),
        write(tmp_path / "semicolons.csv", "time,HR,temp\n0;80;36\n1;80;\n"),
        EventFile(tmp_path / "gone.csv", "gone"),
    ]  # fmt: skip
    (tmp_path / "cut.csv.gz").write_bytes(gzip.compress(WIDE.encode())[:-12])
    files.append(EventFile(tmp_path / "cut.csv.gz", "cut"))
    log = PreparationLog()
    windows = read_table(describe({}, SIGNALS), files, log=log)
    assert_values(windows, EXPECTED)
    sentences = {sentence.split(".csv")[0].split("/")[-1]: sentence for sentence in log.rejected}
    assert len(log.rejected) == len(files) - 1
    assert "is not written in utf-8: give its encoding" in sentences["latin"]
    assert "it has no header" in sentences["empty"]
    assert '"31/12/2024 10:00" is not a time: expected a number of h' in sentences["dates"]
    assert 'has no column time: did you mean "times"? (it has times, HR, temp)' in sentences["without"]
    assert "has 2 columns HR" in sentences["twice"]
    assert "has no column of a signal: it has time, BP" in sentences["others"]
    assert "no row has 3 cells as the header has" in sentences["semicolons"]
    assert "damaged" in sentences["cut"] and "No such file" in sentences["gone"]


def test_times_that_go_back_are_noted_and_placed(tmp_path):
    log = PreparationLog(strict=True)
    file = write(tmp_path / "a.csv", "time,HR\n2,82\n0,80\n1,81\n3,83\n2.5,82.5\n")
    assert_values(read_table(describe({}, {"HR": {}}), [file], log=log), [[80, 81, 82.5, 83]])
    assert log.notes == [f"Times go back in 2 rows (first: {file}, row 2): rows are placed by their time."]


def test_a_format_of_time_is_suggested(tmp_path):
    file = write(tmp_path / "a.csv", "time,HR\n31/12/2024 10:00,80\n")
    with pytest.raises(DataError, match=r'set files.time-format = "%d/%m/%Y %H:%M"$'):
        read_table(describe({"time-unit": "datetime"}, {"HR": {}}), [file])


def test_time_stamps_with_and_without_a_zone_are_refused(tmp_path):
    file = write(tmp_path / "a.csv", "time,HR\n2024-01-01 10:00Z,80\n2024-01-01 10:00,80\n")
    with pytest.raises(DataError, match="some time stamps have a time zone and others have none"):
        read_table(describe({"time-unit": "datetime"}, {"HR": {}}), [file])


def test_the_fault_of_a_file_of_many_recordings_ends_the_reading(tmp_path):
    (tmp_path / "all.csv.gz").write_bytes(gzip.compress(("id," + WIDE).encode())[:-12])
    with pytest.raises(DataError, match="all.csv.gz is damaged"):
        read_table(describe({"record": "id"}, SIGNALS), [EventFile(tmp_path / "all.csv.gz")], {"a": 0.0})


def test_units_that_cannot_be_converted(tmp_path):
    files = {"variable": "name", "value": "x", "value-unit": "unit"}
    file = write(tmp_path / "a.csv", "time,name,x,unit\n0,HR,80,bpm\n1,HR,80,mmHg\n")
    log = PreparationLog(strict=True)
    assert_values(
        read_table(describe(files, {"HR": {"unit": "bpm"}}), [file], log=log), [[80, NAN, NAN, NAN]]
    )
    assert log.notes[0].startswith('Dropped, as HR in "mmHg": "mmHg" cannot be converted to "bpm"')
    with pytest.raises(DataError, match='signals.HR: "mmHg" cannot be converted to "bpm"'):
        read_table(describe({}, {"HR": {"unit": "bpm", "file-unit": "mmHg"}}), [file])


def test_index_of_recordings_with_properties(tmp_path):
    text = "id,time,name,x\nb,2,ward,3\nb,0,HR,80\na,5,HR,70\nb,9,ward,4\n,1,HR,70\na,,HR,70\n"
    description = describe({"record": "id", "variable": "name", "value": "x"}, {"HR": {}})
    file = write(tmp_path / "all.csv", text)
    table = index_recordings([EventFile(file.path)], description.files, PreparationLog(strict=True), ["ward"])
    assert table.index.tolist() == ["b", "a"] and table["ward"].tolist() == ["3", ""]
    hours = table[["first_us", "last_us"]].to_numpy() / 3.6e9
    assert hours.tolist() == [[0, 9], [5, 5]]
