"""Files of any content give a recording or one short sentence, never another error."""

import io
import tempfile
import zipfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from data_partitions.errors import DataError
from data_partitions.recordings import create_output, open_recording
from tests.helpers.edf_files import EdfSignal, write_edf_file
from tests.helpers.wfdb_files import draw_samples, write_record

MAX_SENTENCE_LENGTH = 300
ODD_TEXTS = [
    *("", " ", "0", "-1", "1", "2", "3", "7", "100", "1e3", "1e-320", "1e308", "-1e308", "1e400", "nan"),
    *("99999999", "9" * 25, "9" * 400, "0.5", "0,5", "1_0", "x", "~", "-", "é", "\0", "\x85", "\u2028", "#"),
    *("16", "8", "212", "310", "516", "16x3", "16:9", "16+5", "16x0", "16x99999999", "16:99999999999"),
    *("200(0)/mV", "0(5)/", "1e-300(0)/mV", "1(99999999999999)/mV", "a.dat", "b.dat", "..", "-inf", "-0.0"),
    *("EDF+D", "BDF+C", "EDF Annotations", "30/02/2020", "12:30:00", "+0\x14\x14", "+1e300\x14", "/", "inf"),
    *("hour", "time", "minute", "HR", "2020-01-31", "2020-01-31T12:00:00Z", "9999-12-31 23:59", "1.79e+308"),
]
texts = st.one_of(st.sampled_from(ODD_TEXTS), st.text(max_size=6), st.integers(-5, 2000).map(str))


def use(folder, name, **options):
    """Open, read and complete a file; it must work or fail with a sentence."""
    file = Path(folder) / name
    (Path(folder) / "out").mkdir()
    try:
        recording = open_recording(file, **options)
        for channel, (_, _, rate, samples) in enumerate(recording.channels):
            assert rate > 0 and samples > 0
            for first in (-3, samples // 2, samples - 3):
                values = recording.read(channel, first, first + 9)
                assert values.shape == (9,) and values.dtype == np.float64 and not np.isinf(values).any()
        assert all("\n" not in note for note in recording.notes)
        output = create_output(recording, Path(folder) / "out")
        output.fill(0, -2, np.linspace(-1e6, 1e6, 30))
        output.close()
    except DataError as error:
        assert len(str(error)) <= MAX_SENTENCE_LENGTH and "\n" not in str(error), str(error)


def fuzz(examples):
    return settings(max_examples=examples, deadline=None)


@fuzz(300)
@given(st.data())
def test_wfdb_headers_of_any_content(data):
    with tempfile.TemporaryDirectory() as folder:
        header = write_record(Path(folder), "a", draw_samples(1), names=["I", "II"])
        lines = [line.split(" ") for line in header.read_text().rstrip("\n").split("\n")]
        for _ in range(data.draw(st.integers(1, 4))):
            line = lines[data.draw(st.integers(0, len(lines) - 1))]
            at = data.draw(st.integers(0, len(line) - 1))
            line[at : at + data.draw(st.integers(0, 2))] = [data.draw(texts)]
        content = "\n".join(" ".join(line) for line in lines).encode()
        at = data.draw(st.integers(0, len(content)))
        header.write_bytes(content[:at] + data.draw(st.binary(max_size=4)) + content[at:])
        use(folder, "a.hea")


@fuzz(150)
@given(st.lists(st.tuples(st.sampled_from(["s", "t", "a", "~", "l", ".", ".."]), texts), max_size=4), texts)
def test_segments_of_any_content(segments, first):
    with tempfile.TemporaryDirectory() as folder:
        write_record(Path(folder), "s", draw_samples(1))
        write_record(Path(folder), "t", draw_samples(1), names=["V1", "II", "I"])
        (Path(folder) / "l.hea").write_text(
            "l 2 100 0\n" + "".join(f"~ 16 1000/mV 0 0 0 0 0 {name}\n" for name in ("II", "V9"))
        )
        lines = [f"a/{len(segments)} 3 100 {first}", *(f"{name} {length}" for name, length in segments)]
        (Path(folder) / "a.hea").write_text("\n".join(lines), encoding="utf-8")
        use(folder, "a.hea")


# Position and width of the fields of an EDF header with two channels and annotations.
FIXED_FIELDS = [
    (0, 8),
    (8, 80),
    (88, 80),
    (168, 8),
    (176, 8),
    (184, 8),
    (192, 44),
    (236, 8),
    (244, 8),
    (252, 4),
]
WIDTHS = (16, 80, 8, 8, 8, 8, 8, 80, 8, 32)
FIELDS = FIXED_FIELDS + [
    (256 + 3 * sum(WIDTHS[:column]) + channel * width, width)
    for column, width in enumerate(WIDTHS)
    for channel in range(3)
]


@fuzz(300)
@given(st.data(), st.sampled_from([".edf", ".bdf"]), st.booleans(), st.sampled_from(["measured", "missing"]))
def test_edf_headers_of_any_content(data, suffix, has_gaps, ends):
    signals = [
        EdfSignal("ECG", np.arange(-200, 200), 100),
        EdfSignal("Resp", np.arange(4), 1, "", ("0", "1"), ("0", "3")),
    ]
    with tempfile.TemporaryDirectory() as folder:
        file = write_edf_file(
            Path(folder) / f"a{suffix}", signals, reserved=f"{suffix[1:].upper()}+{'D' if has_gaps else 'C'}",
            onsets=[0, 1, 5, 6],
        )  # fmt: skip
        content = bytearray(file.read_bytes())
        for _ in range(data.draw(st.integers(0, 4))):
            start, width = data.draw(st.sampled_from(FIELDS))
            text = data.draw(st.one_of(texts.map(str.encode), st.binary(max_size=8)))
            content[start : start + width] = text[:width].ljust(width)
        if data.draw(st.booleans()):
            content = content[: data.draw(st.integers(0, len(content)))]
        file.write_bytes(content + data.draw(st.binary(max_size=3)))
        use(folder, file.name, ends_of_range=ends)


@fuzz(300)
@given(
    st.lists(st.lists(texts, min_size=1, max_size=4), max_size=6),
    st.sampled_from(["hour,HR,Temp", "time,a", "HR,b", "minute (h),x", ""]),
    st.sampled_from(["", "h", "datetime"]),
    st.sampled_from([None, 100]),
)
def test_csv_files_of_any_content(rows, header, unit, rate):
    with tempfile.TemporaryDirectory() as folder:
        lines = [header, *(",".join(row) for row in rows)]
        (Path(folder) / "a.csv").write_bytes("\n".join(lines).encode("utf-8", "surrogatepass"))
        use(folder, "a.csv", time_unit=unit, rate=rate)


def array_bytes(compress):
    buffer = io.BytesIO()
    if compress is None:
        np.save(buffer, np.arange(60.0).reshape(20, 3))
    else:
        (np.savez_compressed if compress else np.savez)(buffer, x=np.arange(60.0).reshape(20, 3))
    return buffer.getvalue()


@fuzz(200)
@given(st.data(), st.sampled_from([None, False, True]))
def test_arrays_of_any_content(data, compress):
    content = bytearray(array_bytes(compress))
    for _ in range(data.draw(st.integers(1, 3))):
        at = data.draw(st.integers(0, len(content) - 1))
        content[at : at + data.draw(st.integers(0, 3))] = data.draw(st.binary(max_size=3))
    with tempfile.TemporaryDirectory() as folder:
        name = "a.npz" if compress is not None else "a.npy"
        (Path(folder) / name).write_bytes(content)
        use(folder, name, rate=100, axes=data.draw(st.sampled_from(["time channel", "channel time"])))


@fuzz(200)
@given(
    st.binary(max_size=600),
    st.sampled_from([".hea", ".edf", ".bdf", ".csv", ".csv.gz", ".npy", ".npz", ".parquet"]),
)
def test_any_bytes(content, suffix):
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / f"a{suffix}").write_bytes(content)
        use(folder, f"a{suffix}", rate=10)


@pytest.mark.parametrize("suffix", [".hea", ".edf", ".csv", ".npy"])
def test_files_that_cannot_be_opened(tmp_path, suffix):
    for make in (lambda file: file.mkdir(), lambda file: None, lambda file: file.symlink_to(file)):
        folder = tmp_path / f"{len(list(tmp_path.iterdir()))}"
        folder.mkdir()
        make(folder / f"a{suffix}")
        with pytest.raises(DataError, match=f"a{suffix}"):
            open_recording(folder / f"a{suffix}", rate=1)


def test_members_of_an_archive_that_are_not_arrays(tmp_path):
    with zipfile.ZipFile(tmp_path / "a.npz", "w") as archive:
        archive.writestr("x.npy", b"hello")
        archive.writestr("readme.txt", b"hello")
    with pytest.raises(DataError, match="cannot be read as arrays of numbers"):
        open_recording(tmp_path / "a.npz", rate=1)
