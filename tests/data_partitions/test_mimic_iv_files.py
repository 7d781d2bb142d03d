"""Every layout of MIMIC-IV gives the same windows; errors name damaged and missing files."""

import gzip

import numpy as np
import pytest

from data_partitions import DataError
from data_partitions.preparation_log import PreparationLog
from data_partitions.sources.mimic_iv import download, index, read, schema
from data_partitions.sources.mimic_iv import tables as mimic_tables
from tests.helpers.generated_mimic_iv import COLUMNS, make_tables, table_path, write_tables
from tests.helpers.mimic_iv_stays import EVENTS, prepare

# ---- the same windows


@pytest.mark.parametrize("version", ["1.0", "2.0", "2.2"])
@pytest.mark.parametrize("gz", [True, False])
def test_every_layout_gives_the_same_windows(tmp_path, generated_windows, version, gz):
    tables = make_tables(version=version)
    write_tables(tmp_path, tables, version=version, gz=gz)
    assert (tmp_path / "core").is_dir() == (version == "1.0")
    _, windows, _ = prepare(tmp_path)
    np.testing.assert_array_equal(np.stack(windows), generated_windows)


@pytest.mark.parametrize(
    ("version", "expected"),
    [("1.0", "1.0"), ("2.0", "2.0 or 2.1"), ("2.2", "2.2"), ("3.1", "3.0 or 3.1")],
)
def test_the_version_follows_from_folders_and_columns(tmp_path, version, expected):
    write_tables(tmp_path, make_tables(20, version=version), version=version)
    assert schema(tmp_path)["version"] == f"{expected}, 20 ICU stays"


@pytest.mark.parametrize(
    ("rows", "read_bytes", "block_bytes"), [(1, 2**18, 2**23), (7, 100, 64), (1000, 4096, 10**4)]
)
def test_chunks_of_any_size_give_the_same_windows(
    tmp_path, monkeypatch, generated, generated_windows, rows, read_bytes, block_bytes
):
    stays = index(generated, PreparationLog()).iloc[:3]
    folder = tmp_path / "stays"
    tables = make_tables()
    for name in EVENTS.values():  # limited, because each row may be a chunk
        tables[name] = tables[name][tables[name]["subject_id"].isin(stays["subject_id"])].iloc[:1500]
    write_tables(folder, tables)
    expected = np.stack(list(read(folder, stays, PreparationLog())))
    monkeypatch.setattr(mimic_tables, "CHUNK_ROWS", rows)
    monkeypatch.setattr(mimic_tables, "DECOMPRESSED_BLOCK_BYTES", block_bytes)
    monkeypatch.setattr(mimic_tables._decompressed, "__defaults__", (read_bytes,))
    np.testing.assert_array_equal(np.stack(list(read(folder, stays, PreparationLog()))), expected)


def test_a_gzip_file_of_several_members_is_read_completely(tmp_path, generated, generated_windows):
    content = gzip.decompress(table_path(generated, "chartevents").read_bytes())
    cuts = [0, 10, len(content) // 2, len(content)]
    members = [gzip.compress(content[a:b]) for a, b in zip(cuts, cuts[1:], strict=False)]
    other = tmp_path / "chart events.gz"
    other.write_bytes(b"".join(members) + b"\0" * 512)
    _, windows, _ = prepare(generated, chartevents=other)
    np.testing.assert_array_equal(np.stack(windows), generated_windows)


def test_chartevents_may_be_another_file_with_fewer_columns(tmp_path, generated_windows):
    tables = make_tables()
    chart = tables["chartevents"][["itemid", "stay_id", "value", "charttime", "valuenum"]]
    write_tables(tmp_path, tables, excluded=["chartevents"])
    chart.to_csv(tmp_path / "other.csv", index=False)
    _, windows, _ = prepare(tmp_path, chartevents=tmp_path / "other.csv")
    np.testing.assert_array_equal(np.stack(windows), generated_windows)


def test_windows_come_in_the_order_of_the_rows(generated, generated_windows):
    table = index(generated, PreparationLog())
    rows = [7, 0, 31]
    windows = list(read(generated, table.iloc[rows], PreparationLog()))
    np.testing.assert_array_equal(np.stack(windows), generated_windows[rows])


def test_progress_ends_where_the_files_end(generated):
    calls = {}
    log = PreparationLog(progress=lambda step, done, total: calls.setdefault(step, []).append((done, total)))
    list(read(generated, index(generated, log), log))
    assert list(calls) == ["reading chartevents", "reading outputevents", "reading labevents"]
    for step, amounts in calls.items():
        size = table_path(generated, step.split()[1]).stat().st_size
        assert amounts[-1] == (size, size)


# ---- unusable input


@pytest.mark.parametrize("name", COLUMNS)
def test_a_missing_table_is_named_with_its_path_and_the_versions(tmp_path, name):
    write_tables(tmp_path, stays=2, excluded=[name])
    path = str(table_path(tmp_path, name, gz=False))
    with pytest.raises(DataError) as error:
        prepare(tmp_path)
    message = str(error.value)
    assert message.startswith(f"there is no {path}.gz or .csv")
    assert "version 1.0, 2.x or 3.x" in message
    assert ("nor in core/" in message) == (name in ("patients", "admissions"))


@pytest.mark.parametrize(
    ("name", "column"),
    [
        ("patients", "anchor_age"),
        ("admissions", "hospital_expire_flag"),
        ("icustays", "outtime"),
        ("chartevents", "valuenum"),
        ("chartevents", "value"),
        ("labevents", "subject_id"),
        ("outputevents", "stay_id"),
    ],
)
def test_a_missing_column_is_named_with_its_file(tmp_path, name, column):
    tables = make_tables(2)
    tables[name] = tables[name].drop(columns=column)
    write_tables(tmp_path, tables)
    with pytest.raises(DataError, match=rf"{name}\.csv\.gz has no column {column}: it has .*3\.x"):
        prepare(tmp_path)


def test_a_chartevents_path_without_a_file_is_refused(generated):
    with pytest.raises(DataError, match="there is no file nowhere.csv: give the path of the table"):
        prepare(generated, chartevents="nowhere.csv")


def write_large_chartevents(folder):
    """Write chartevents of many blocks that compress evenly: half of the bytes have half of the rows."""
    tables = make_tables(30, unused=3000)
    write_tables(folder, tables)
    return table_path(folder, "chartevents"), len(tables["chartevents"])


@pytest.mark.parametrize("damage", ["cut", "changed"])
def test_a_damaged_file_is_named_with_the_approximate_row(tmp_path, damage):
    file, rows = write_large_chartevents(tmp_path)
    content = bytearray(file.read_bytes())
    half = len(content) // 2
    if damage == "cut":
        del content[half:]
    else:
        content[half : half + 4000] = np.random.default_rng(0).bytes(4000)
    file.write_bytes(content)
    with pytest.raises(
        DataError, match=r"chartevents\.csv\.gz is damaged after about ([\d,]+) rows"
    ) as error:
        prepare(tmp_path)
    row = int(str(error.value).split("about ")[1].split(" ")[0].replace(",", ""))
    # After a change, decompression may continue for a while before the data make no sense.
    assert 0.45 * rows < row < (0.55 if damage == "cut" else 1) * rows
    assert "fetch it again" in str(error.value)


def test_a_changed_checksum_is_noticed(tmp_path):
    file, rows = write_large_chartevents(tmp_path)
    content = bytearray(file.read_bytes())
    content[-6] ^= 1
    file.write_bytes(content)
    with pytest.raises(DataError, match=r"is damaged after about .*incorrect data check"):
        prepare(tmp_path)


def test_a_cut_at_the_end_of_the_stream_is_noticed(tmp_path):
    write_tables(tmp_path)
    file = table_path(tmp_path, "labevents")
    file.write_bytes(file.read_bytes()[:-3])
    with pytest.raises(DataError, match=r"labevents.csv.gz is damaged .*its end is missing"):
        prepare(tmp_path)


@pytest.mark.parametrize(
    ("name", "column", "text", "sentence"),
    [
        ("chartevents", "valuenum", "eighty", r"not as expected somewhere after row 0 .*eighty"),
        ("chartevents", "charttime", "yesterday", r"has a charttime that is not a time like .*yesterday"),
        ("labevents", "itemid", "fifty", r"not as expected somewhere after row 0 .*fifty"),
    ],
)
def test_a_value_of_the_wrong_type_is_named_with_its_file(tmp_path, name, column, text, sentence):
    tables = make_tables(3)
    tables[name] = tables[name].astype(object)
    used = tables[name]["itemid"].isin([220045, 50912])
    tables[name].loc[used.idxmax(), column] = text
    write_tables(tmp_path, tables)
    with pytest.raises(DataError, match=rf"{name}\.csv\.gz {sentence}|{name}\.csv\.gz is {sentence}"):
        prepare(tmp_path)


def test_an_unclosed_quote_is_reported(tmp_path):
    write_tables(tmp_path, gz=False)
    with open(table_path(tmp_path, "outputevents", gz=False), "a") as file:
        file.write('1,2,3,"4,5,6,7,8,9\n')
    with pytest.raises(DataError, match=r"outputevents\.csv is not as expected .*EOF inside string"):
        prepare(tmp_path)


def test_download_explains_how_to_apply_for_access(tmp_path):
    with pytest.raises(
        DataError, match="training and sign the data use agreement .*physionet.org/content/mimic"
    ):
        download(tmp_path, PreparationLog())
