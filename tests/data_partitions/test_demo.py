from contextlib import contextmanager

import numpy as np
import pandas as pd
import pytest
import wfdb

from data_partitions import DataError
from data_partitions.federation import open_federation
from data_partitions.preparation_log import PreparationLog
from data_partitions.sources import demo, ptb_xl
from data_partitions.sources.demo.heart import draw_ecg, draw_heart
from data_partitions.sources.ptb_xl import LEADS, SUPERCLASSES
from server_app.operations.preflight import DEMO_SITES


def make_heart(*diseases, seed=0):
    """Draw a heart with these diseases, but in sinus rhythm and without ectopic beats."""
    heart = draw_heart(np.random.default_rng(seed), diseases)
    heart.fibrillation, heart.ectopy = False, 0.0
    return heart


def make_ecg(heart, seed=0, **options):
    return draw_ecg(np.random.default_rng(seed), heart, **options)


def find_beats(ecg, rate=100):
    """Return the samples of the R peaks, from the sum of the squared slopes of all leads."""
    energy = np.convolve((np.diff(ecg, axis=1) ** 2).sum(axis=0), np.ones(8), "same")
    above = energy > 0.35 * np.quantile(energy, 0.99)
    starts = np.flatnonzero(np.diff(above.astype(int)) == 1)
    return starts[np.diff(starts, prepend=-rate) > 0.3 * rate]


@pytest.mark.parametrize("diseases", [(), ("MI",), ("CD", "STTC"), ("HYP",)])
def test_the_leads_obey_their_definitions(diseases):
    ecg = make_ecg(draw_heart(np.random.default_rng(1), diseases))
    i, ii, iii, avr, avl, avf = ecg[:6]
    assert ecg.shape == (12, 1000)
    for lead, definition in [(iii, ii - i), (avr, -(i + ii) / 2), (avl, i - ii / 2), (avf, ii - i / 2)]:
        np.testing.assert_allclose(lead, definition, atol=1e-12)
    assert np.linalg.matrix_rank(ecg) == 8


def test_a_record_at_500_hz_has_as_many_beats():
    heart = make_heart()
    assert make_ecg(heart, rate=500).shape == (12, 5000)
    expected = 10 * heart.rate / 60
    assert len(find_beats(make_ecg(heart))) == pytest.approx(expected, abs=2)


def test_equal_seeds_give_equal_ecgs():
    np.testing.assert_array_equal(make_ecg(make_heart(seed=3), 4), make_ecg(make_heart(seed=3), 4))
    assert not np.array_equal(make_ecg(make_heart(seed=3), 4), make_ecg(make_heart(seed=3), 5))


def test_fibrillation_is_irregular():
    def irregularity(fibrillation):
        ratios = []
        for seed in range(12):
            heart = make_heart(seed=seed)
            heart.fibrillation = fibrillation
            intervals = np.diff(find_beats(make_ecg(heart, seed)))
            ratios.append(intervals.std() / intervals.mean())
        return np.median(ratios)

    assert irregularity(False) < 0.08 < 0.15 < irregularity(True)


def mean_over_hearts(statistic, *diseases, hearts=25):
    return np.mean([statistic(make_ecg(make_heart(*diseases, seed=seed), seed)) for seed in range(hearts)])


def test_a_healthy_ecg_has_the_shape_of_textbooks():
    assert mean_over_hearts(lambda ecg: ecg[LEADS.index("II")].max()) > 0.7, "tall R in II, mV"
    assert mean_over_hearts(lambda ecg: ecg[LEADS.index("aVR")].min()) < -0.5, "aVR points down"
    assert mean_over_hearts(lambda ecg: ecg[LEADS.index("V2")].min()) < -0.8, "deep S in V2"
    assert mean_over_hearts(lambda ecg: ecg[LEADS.index("V5")].max()) > 0.8, "tall R in V5"
    assert mean_over_hearts(lambda ecg: np.abs(ecg).max()) < 4


def test_diseases_change_the_expected_parts_of_the_ecg():
    def span(ecg):  # mV, in the chest
        return np.ptp(ecg[6:], axis=1).max()

    assert mean_over_hearts(span, "HYP") > 1.25 * mean_over_hearts(span), "large voltages"

    def after_the_beat(ecg):  # mV, 0.25 to 0.33 s after the R peak in V5, where T is
        beats = find_beats(ecg)
        v5 = ecg[LEADS.index("V5")] - np.median(ecg[LEADS.index("V5")])
        return np.mean([v5[b + 25 : b + 33].mean() for b in beats if b + 33 < 1000])

    assert mean_over_hearts(after_the_beat, "STTC") < 0.4 * mean_over_hearts(after_the_beat), (
        "flat or inverted T"
    )

    def width(ecg):  # share of time that is steep
        slope = np.abs(np.diff(ecg, axis=1)).max(axis=0)
        return (slope > 0.15 * np.quantile(slope, 0.99)).mean()

    assert mean_over_hearts(width, "CD") > 1.1 * mean_over_hearts(width), "broad QRS"


def test_the_source_has_the_tables_and_records_of_ptb_xl(raw):
    table = pd.read_csv(raw / "ptbxl_database.csv")
    assert len(table) == 60 and table["patient_id"].nunique() == 56
    assert table["ecg_id"].tolist() == list(range(1, 61))
    assert set(table["strat_fold"]) == set(range(1, 11))
    assert table.groupby("patient_id")["strat_fold"].nunique().max() == 1
    for path in table["filename_lr"][:5]:
        record = wfdb.rdrecord(str(raw / path), physical=False)
        assert (record.fs, record.sig_len, record.n_sig) == (100, 1000, 12)
        assert set(record.units) == {"mV"} and set(record.fmt) == {"16"} and set(record.adc_gain) == {1000.0}
        assert record.calc_checksum() == record.checksum
        assert record.init_value == record.d_signal[0].tolist()


def test_lead_identities_hold_within_rounding(raw):
    for _, row in demo.index(raw, PreparationLog()).iterrows():
        i, ii, iii, avr, avl, avf = ptb_xl.read_record(raw, row)[:6]
        tolerance = 0.00151  # mV; every lead is rounded to 0.001
        assert np.abs(iii - (ii - i)).max() < tolerance
        assert np.abs(avr + (i + ii) / 2).max() < tolerance
        assert np.abs(avl - (i - ii / 2)).max() < tolerance
        assert np.abs(avf - (ii - i / 2)).max() < tolerance


def test_the_source_depends_on_its_seed(tmp_path):
    for name, seed in (("a", 0), ("b", 0), ("c", 1)):
        demo.write_source(tmp_path / name, patients=4, seed=seed)
    record = "records100/00000/00002_lr.dat"
    a, b, c = ((tmp_path / name / record).read_bytes() for name in "abc")
    assert a == b != c
    with pytest.raises(DataError, match="exists already"):
        demo.write_source(tmp_path / "a", patients=4)


def test_the_schema_names_the_demo_and_not_ptb_xl(raw):
    schema = demo.schema(raw)
    assert schema["dataset"] == "demo" and "no patient" in schema["license"]
    assert schema["labels"] == SUPERCLASSES


@pytest.fixture(scope="module")
def federation(tmp_path_factory):
    """The demo federation with fewer patients."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(demo.dataset, "PATIENTS", 250)
        yield demo.prepare_demo(tmp_path_factory.mktemp("demo") / "all")


def test_the_demo_has_four_hospitals_with_nine_leads_each(federation):
    assert federation.sites == tuple(f"hospital-{i}" for i in range(4)) == DEMO_SITES
    partitions = [federation.open_site(site) for site in federation.sites]
    leads_of_site = [{m.name for m in p.manifest.modalities if m.present} for p in partitions]
    assert [len(leads) for leads in leads_of_site] == [9] * 4
    assert set().union(*leads_of_site) == set(LEADS)
    assert len(set(map(frozenset, leads_of_site))) == 4
    for partition, leads in zip(partitions, leads_of_site, strict=True):
        observed = partition.read(partition.rows("train"))[1]
        np.testing.assert_array_equal(observed.all(axis=(0, 2, 3)), [name in leads for name in LEADS])
        assert all(partition.manifest.windows[split] > 0 for split in ("train", "val", "test"))
    patients = [set(p.patient_ids) for p in partitions]
    assert sum(map(len, patients)) == len(set().union(*patients))


def test_hospitals_differ_in_their_patients(federation):
    shares = np.array([federation.open_site(i, check=False).labels.mean(axis=0) for i in range(4)])
    assert shares[0].argmax() == SUPERCLASSES.index("NORM")
    assert shares[:, SUPERCLASSES.index("MI")].argmax() == 1
    assert shares[:, SUPERCLASSES.index("CD")].argmax() == 3
    assert (federation.open_site(0).labels.sum(axis=1) > 1).any(), "some patients have two superclasses"


def test_an_existing_demo_is_not_made_again(federation):
    before = [federation.open_site(i).fingerprint() for i in range(4)]
    times = [path.stat().st_mtime_ns for path in federation.path.rglob("*")]
    assert demo.prepare_demo(federation.path) == federation
    assert [path.stat().st_mtime_ns for path in federation.path.rglob("*")] == times
    assert [open_federation(federation.path).open_site(i).fingerprint() for i in range(4)] == before
    assert [path.name for path in federation.path.parent.iterdir()] == ["all"]


def test_a_demo_that_another_process_made_meanwhile_is_used(federation, tmp_path, monkeypatch):
    @contextmanager
    def wait_for_another_process(path, wait):
        assert wait
        (tmp_path / "all").symlink_to(federation.path)
        yield

    monkeypatch.setattr(demo.dataset, "reserve_output", wait_for_another_process)
    monkeypatch.setattr(demo.dataset, "write_source", None)
    assert demo.prepare_demo(tmp_path / "all").sites == federation.sites


def test_a_directory_that_is_not_the_demo_is_not_touched(tmp_path):
    (tmp_path / "other").mkdir()
    with pytest.raises(DataError, match="has no federation.json"):
        demo.prepare_demo(tmp_path / "other")
    assert list((tmp_path / "other").iterdir()) == []
