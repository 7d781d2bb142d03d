"""Nights with a hypnogram, by a description: the same windows as those of the reader of Sleep-EDF."""

import numpy as np
import pytest

from data_partitions.description.reading import read_description
from data_partitions.preparation_log import PreparationLog
from data_partitions.sources import sleep_edf
from data_partitions.sources.described.reader import DescribedDataset
from tests.helpers.generated_sleep_edf import write_coded_night, write_hypnogram, write_nights

NIGHTS = """
[dataset]
name = "sleep-edf"
[files]
format = "edf"
path = "{night:6}*-PSG.edf"
[table]
record = "{night}"
patient = "{night}"
[window]
length = "30 s"
patch = "1 s"
align = "annotations"
keep = { around = "W", minutes = 1 }
[signals."EEG Fpz-Cz"]
unit = "uV"
rate = 100
[signals."EEG Pz-Oz"]
like = "EEG Fpz-Cz"
[signals.EOG]
like = "EEG Fpz-Cz"
channels = ["EOG horizontal"]
[signals.Resp]
unit = "a.u."
rate = 1
channels = ["Resp oro-nasal"]
[signals.EMG]
unit = "uV"
rate = 1
channels = ["EMG submental"]
[annotations]
from = "edf+"
path = "{night:6}*-Hypnogram.edf"
[task]
kind = "single-label"
of = "window"
drop = ["Sleep stage ?", "Movement time"]
[task.classes]
W = "Sleep stage W"
N1 = "Sleep stage 1"
N2 = "Sleep stage 2"
N3 = ["Sleep stage 3", "Sleep stage 4"]
REM = "Sleep stage R"
"""


@pytest.fixture
def reader(tmp_path):
    (tmp_path / "dataset.toml").write_text(NIGHTS)
    return DescribedDataset(read_description(tmp_path / "dataset.toml"))


@pytest.mark.parametrize("write", ["drawn", "coded"])
def test_nights_have_the_windows_and_stages_of_the_reader_of_sleep_edf(reader, tmp_path, write):
    source = tmp_path / "in"
    if write == "drawn":
        write_nights(source, subjects=3, nights=2, epochs=40)
    else:
        write_coded_night(source, "SC4001", "WWWW1W234R2M?R1WWWW2WWWWW")
    expected = sleep_edf.index(source, PreparationLog(), wake_minutes=1)
    log = PreparationLog()
    index = reader.index(source, log)
    assert not log.rejected
    assert index["record_id"].tolist() == expected["record_id"].tolist()
    np.testing.assert_array_equal(index[list(sleep_edf.STAGES)], expected[list(sleep_edf.STAGES)])
    np.testing.assert_array_equal(index["start"], expected["start"])
    windows = np.stack(list(reader.read(source, index, log)))
    np.testing.assert_allclose(
        windows, np.stack(list(sleep_edf.read(source, expected, log))), rtol=1e-6, atol=1e-4
    )


def test_a_night_whose_stages_overlap_or_are_unknown_is_named_and_the_others_are_used(reader, tmp_path):
    source = tmp_path / "in"
    write_nights(source, subjects=3, nights=1, epochs=20)
    for night, runs in (
        ("SC4001", [(0, 90, "Sleep stage 2"), (60, 90, "Sleep stage W")]),
        ("SC4011", [(0, 90, "Sleep stage 2"), (90, 90, "Sleep stag 1")]),
    ):
        (hypnogram,) = source.glob(f"{night}*-Hypnogram.edf")
        hypnogram.unlink()
        write_hypnogram(hypnogram, runs)
    log = PreparationLog()
    index = reader.index(source, log)
    assert set(index["recording_id"]) == {"SC4021"}
    overlap, unknown = log.rejected
    assert overlap.startswith("recording SC4001: annotations overlap at 60 s")
    assert (
        unknown.startswith("recording SC4011: ")
        and 'have "Sleep stag 1", which no class has; did you mean "Sleep stage 1"' in unknown
    )
