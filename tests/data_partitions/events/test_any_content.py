"""Whatever a file contains, it is read or refused in one sentence."""

import gzip
from pathlib import Path
from tempfile import TemporaryDirectory

from hypothesis import example, given, settings
from hypothesis import strategies as st

from data_partitions.events.recordings import index_recordings
from data_partitions.preparation_log import PreparationLog
from tests.helpers.event_tables import describe, read_table, write

CELLS = st.one_of(
    st.sampled_from(
        ["", "0", "1.5", "-999", "1e400", "inf", "nan", "HR", "00:07", '"', '"a,b"', "٣", "\x00", "é"]
    ),
    st.integers().map(str),
    st.floats().map(str),
    st.datetimes().map(str),
    st.text(max_size=6),
)
TABLES = st.lists(st.lists(CELLS, max_size=5), max_size=8)
DESCRIPTIONS = [
    describe({}, {"HR": {"unit": "bpm"}}),
    describe({"time-unit": "datetime"}, {"HR": {"unit": "bpm", "within": "median"}}),
    describe({"variable": "name", "value": "HR", "value-unit": "unit"}, {"HR": {"unit": "bpm"}, "1": {}}),
    describe({"variable": "name", "value": "HR", "decimal": ",", "separator": ";"}, {"HR": {"unit": "bpm"}}),
]


@settings(max_examples=120, deadline=None)
@given(st.one_of(TABLES, st.binary(max_size=200)), st.integers(0, 3), st.sampled_from(["", "\r\n", "gz"]))
@example([["2", "", "9" * 400, "²"]], 0, "")
def test_any_content_is_read_or_refused_in_a_sentence(content, number, how):
    description = DESCRIPTIONS[number]
    separator = description.files.separator
    with TemporaryDirectory() as folder:
        file = write(Path(folder) / "a.csv", separator.join(["time", "HR", "name", "unit"]) + "\n")
        if isinstance(content, bytes):
            file.path.write_bytes(file.path.read_bytes() * (number % 2) + content)
        else:
            rows = (separator.join(row) for row in content)
            text = (how if how != "gz" else "\n").join(rows) or ""
            file.path.write_bytes(file.path.read_bytes() + text.encode("utf-8", "replace"))
        if how == "gz":
            file.path.write_bytes(gzip.compress(file.path.read_bytes())[: -number or None])
        log = PreparationLog()
        index = index_recordings([file], description.files, log)
        if "a" in index.index:
            windows = list(read_or_none(description, file, log))
            assert all(abs(values).max(initial=0, where=values == values) < 3.5e38 for values in windows)
        for sentence in log.rejected:
            assert "\n" not in sentence and len(sentence) < 600, sentence


def read_or_none(description, file, log):
    before = len(log.rejected)
    try:
        yield from read_table(description, [file], log=log)
    except ValueError:  # np.stack of no window: the file was rejected
        assert len(log.rejected) > before
