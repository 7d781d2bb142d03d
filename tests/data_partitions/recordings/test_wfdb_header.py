"""Headers are read as the wfdb package reads them."""

import numpy as np
import pytest
import wfdb

from data_partitions.recordings.wfdb_header import read_wfdb_header


def assert_agrees_with_wfdb(folder, name):
    header = read_wfdb_header(folder / f"{name}.hea")
    rate, samples, signals = header.rate, header.samples, header.signals
    expected = wfdb.rdheader(str(folder / name))
    assert (rate, samples) == (expected.fs, expected.sig_len)
    assert [s.name for s in signals] == expected.sig_name
    assert [s.file for s in signals] == expected.file_name
    assert [s.format for s in signals] == expected.fmt
    assert [s.gain for s in signals] == expected.adc_gain
    assert [s.baseline for s in signals] == expected.baseline
    assert [s.unit for s in signals] == expected.units


@pytest.mark.parametrize("gain", [[1000.0, 200.5], [4.88e-2, 1e3]])
@pytest.mark.parametrize("fs", [100, 360.5])
def test_headers_that_wfdb_writes_agree(tmp_path, gain, fs):
    wfdb.wrsamp(
        "a", fs=fs, units=["mV", "uV"], sig_name=["I", "chest lead 1"],
        d_signal=np.arange(20).reshape(10, 2), fmt=["16", "212"], adc_gain=gain, baseline=[-7, 1024],
        comments=["age: 54"], write_dir=str(tmp_path),
    )  # fmt: skip
    assert_agrees_with_wfdb(tmp_path, "a")


@pytest.mark.parametrize(
    "line",
    [
        "a.dat 16 1000.0(0)/mV 16 0 -119 1508 0 I",
        "a.dat 16 1000/mV 16 5 -119 1508 0 I",
        "a.dat  212\t200.0(-3)/mV 11 1024 995 -22131 0 lead  one",
    ],
)
def test_headers_of_other_writers_agree(tmp_path, line):
    (tmp_path / "a.hea").write_text(f"# a comment\na 1 100 1000 12:00:00 31/01/2001\n{line}\n# another\n")
    assert_agrees_with_wfdb(tmp_path, "a")


def test_the_headers_of_ptb_xl_agree(real):
    for header in sorted((real / "records100").rglob("*.hea"))[:20]:
        assert_agrees_with_wfdb(header.parent, header.stem)
