"""Signals of PTB-XL agree with the files: in mV, by lead names, at both rates."""

import numpy as np
import wfdb

from data_partitions.preparation_log import PreparationLog
from data_partitions.sources.ptb_xl import LEADS
from data_partitions.sources.ptb_xl import read_record as read
from tests.helpers.ptb_xl_files import change_header, index, row_of


def test_read_agrees_with_wfdb(raw):
    row = row_of(raw, 7)
    values = read(raw, row)
    record = wfdb.rdrecord(str(raw / row["path"]))
    assert values.dtype == np.float32 and values.shape == (12, 100, 10)
    np.testing.assert_allclose(values.reshape(12, 1000), record.p_signal.T, atol=1e-6)
    assert [name.upper() for name in LEADS] == record.sig_name


def test_leads_are_found_by_name(raw_copy):
    before = read(raw_copy, row_of(raw_copy, 3))
    swap = [(" V1\n", " ?\n"), (" AVF\n", " V1\n"), (" ?\n", " aVF\n"), (" 0 I\n", " 0 i\n")]
    change_header(raw_copy, 3, *swap)
    after = read(raw_copy, row_of(raw_copy, 3))
    order = [LEADS.index(name) for name in "I II III aVR aVL V1 aVF V2 V3 V4 V5 V6".split()]
    np.testing.assert_array_equal(after, before[order])


def test_gain_baseline_and_unmeasured_samples_are_applied(raw_copy):
    file = raw_copy / "records100/00000/00003_lr.dat"
    raw_units = np.fromfile(file, "<i2").reshape(1000, 12)
    raw_units[5, 0] = -(2**15)
    raw_units.tofile(file)
    change_header(raw_copy, 3, ("1000.0(0)/mV", "500.0(10)/mV"))
    values = read(raw_copy, row_of(raw_copy, 3)).reshape(12, 1000)
    assert np.isnan(values[0, 5]) and np.isnan(values).sum() == 1
    np.testing.assert_allclose(values[3], (raw_units[:, 3] - 10) / 500, atol=1e-6)


def test_records_at_500_hz_are_read(raw_copy, tmp_path):
    units = np.arange(5000 * 12).reshape(5000, 12) % 2000
    (raw_copy / "records500/00000").mkdir(parents=True)
    wfdb.wrsamp(
        "00004_hr",
        fs=500,
        units=["mV"] * 12,
        sig_name=list(LEADS),
        d_signal=units,
        fmt=["16"] * 12,
        adc_gain=[1000.0] * 12,
        baseline=[0] * 12,
        write_dir=str(raw_copy / "records500/00000"),
    )
    log = PreparationLog()
    table = index(raw_copy, rate=500, log=log)
    assert table["record_id"].tolist() == ["4"]
    assert log.notes == ["Excluded because their signals are missing: 59 records."]
    values = read(raw_copy, table.iloc[0])
    assert values.shape == (12, 100, 50)
    np.testing.assert_allclose(values[2].ravel(), units[:, 2] / 1000, atol=1e-6)


def test_the_leads_of_ptb_xl_obey_their_definitions(real):
    for _, row in index(real).head(10).iterrows():
        i, ii, iii, avr, avl, avf, *chest = read(real, row)
        tolerance = 0.0025  # each is rounded to 0.001 mV
        assert np.abs(iii - (ii - i)).max() < tolerance
        assert np.abs(avr + (i + ii) / 2).max() < tolerance
        assert np.abs(avl - (i - ii / 2)).max() < tolerance
        assert np.abs(avf - (ii - i / 2)).max() < tolerance
        assert 0.05 < np.std(chest) < 2, "mV"
