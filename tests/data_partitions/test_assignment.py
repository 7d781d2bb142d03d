from collections import Counter

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from data_partitions import DataError
from data_partitions.assignment import assign_patients, select_modalities

LABELS = ["NORM", "MI", "HYP"]


def make_records(patients=300, hospitals=6, seed=0) -> pd.DataFrame:
    """Make an index of patients with one to three records, one split and one hospital each."""
    rng = np.random.default_rng(seed)
    rows = []
    for patient in range(patients):
        split = rng.choice(["train", "val", "test"], p=[0.8, 0.1, 0.1])
        site = int(min(hospitals - 1, rng.geometric(0.4) - 1))
        for _ in range(rng.integers(1, 4)):
            label = int(rng.choice(3, p=[0.6, 0.3, 0.1]))
            rows.append(
                (f"r{len(rows)}", f"p{patient}", split, f"hospital-{site}", *np.eye(3, dtype=int)[label])
            )
    return pd.DataFrame(rows, columns=["record_id", "patient_id", "split", "site", *LABELS])


def make_hospital(site, split, count, start=0) -> pd.DataFrame:
    """Make the index of a hospital with one record per patient."""
    ids = [f"{site}-{split}-{i}" for i in range(start, start + count)]
    name = f"hospital-{site}"
    return pd.DataFrame({"record_id": ids, "patient_id": ids, "split": split, "site": name})


def count_training_records(index, site_of_patient) -> Counter:
    return Counter(site_of_patient[patient] for patient in index.loc[index["split"] == "train", "patient_id"])


@pytest.mark.parametrize("split", ["natural", "iid", "dirichlet"])
@settings(max_examples=8, deadline=None)
@given(seed=st.integers(0, 10**6), sites=st.integers(1, 4))
def test_every_patient_has_one_site_and_every_site_has_training_records(split, seed, sites):
    index = make_records(seed=seed % 7)
    site_of_patient = assign_patients(index, sites, split, seed, labels=LABELS)
    assert set(site_of_patient) == set(index["patient_id"])
    counts = count_training_records(index, site_of_patient)
    assert len(set(site_of_patient.values())) == sites
    assert min(counts[site] for site in set(site_of_patient.values())) >= 10
    assert site_of_patient == assign_patients(index, sites, split, seed, labels=LABELS), "deterministic"


@pytest.mark.parametrize("split", ["iid", "dirichlet"])
def test_the_assignment_depends_on_the_seed_and_not_on_the_order_of_rows(split):
    index = make_records()
    site_of_patient = assign_patients(index, 5, split, 0, labels=LABELS)
    shuffled = index.sample(frac=1, random_state=1).reset_index(drop=True)
    assert assign_patients(shuffled, 5, split, 0, labels=LABELS) == site_of_patient
    assert assign_patients(index, 5, split, 1, labels=LABELS) != site_of_patient
    assert sorted(set(site_of_patient.values())) == [f"site-{i:02d}" for i in range(5)]


def test_iid_gives_every_site_its_share_of_each_split():
    index = make_records()
    site_of_patient = assign_patients(index, 4, "iid", 0)
    of_split = index.drop_duplicates("patient_id").set_index("patient_id")["split"]
    for split in ("train", "val", "test"):
        counts = Counter(site_of_patient[patient] for patient in of_split.index[of_split == split])
        assert len(counts) == 4
        assert max(counts.values()) - min(counts.values()) <= 1


def measure_skew(alpha: float) -> float:
    """Compute the mean distance of the label shares of sites from those of all records."""
    index = make_records(patients=2000)
    site_of_patient = index["patient_id"].map(assign_patients(index, 5, "dirichlet", 0, alpha, labels=LABELS))
    shares = index.groupby(site_of_patient)[LABELS].mean()
    return float((shares - index[LABELS].mean()).abs().to_numpy().mean())


def test_dirichlet_is_more_skewed_for_a_small_alpha():
    assert measure_skew(1000) < 0.02 < 0.1 < measure_skew(0.3)


def test_dirichlet_groups_patients_by_their_rarest_label():
    # Shares of Dirichlet(tiny alpha) are nearly one-hot: all patients of a label are at one site.
    index = make_records(patients=400)
    rare = set(index.loc[index["HYP"] == 1, "patient_id"])
    site_of_patient = assign_patients(index, 2, "dirichlet", 0, 1e-3, labels=LABELS)
    assert len({site_of_patient[patient] for patient in rare}) == 1
    assert len(set(site_of_patient.values())) == 2


def test_dirichlet_takes_the_best_draw_and_notes_a_small_site():
    index = make_records(patients=20)
    notes = []
    site_of_patient = assign_patients(index, 5, "dirichlet", 0, labels=LABELS, notes=notes)
    counts = count_training_records(index, site_of_patient)
    assert len(counts) == 5
    assert notes == [f"The smallest site has only {min(counts.values())} training records."]


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ((301, "iid", 0), "301 sites were requested, but only .* patients have training records"),
        ((0, "iid", 0), "needs at least one site"),
        ((None, "iid", 0), "needs the number of sites"),
        ((2, "random", 0), 'split "random" is unknown: choose natural, iid or dirichlet'),
        ((2, "dirichlet", 0, 0.0), "alpha of the Dirichlet split must be above 0"),
        ((2, "dirichlet", 0, float("nan")), "alpha of the Dirichlet split must be above 0"),
        ((100, "dirichlet", 0, 1e-4), r"no draw of Dirichlet\(0.0001\) gave each of 100 sites"),
        ((7, "natural", 0), "7 sites were requested, but only . hospitals have 10 training records"),
    ],
)
def test_impossible_assignments_are_refused(arguments, sentence):
    with pytest.raises(DataError, match=sentence):
        assign_patients(make_records(), *arguments, labels=LABELS)


def test_natural_merges_small_hospitals_into_rest():
    index = pd.concat(
        [
            make_hospital("0", "train", 30),
            make_hospital("1", "train", 10),
            make_hospital("2", "train", 9),
            make_hospital("10", "train", 4),
        ]
    )
    notes = []
    site_of_patient = assign_patients(index, None, "natural", 0, notes=notes)
    assert count_training_records(index, site_of_patient) == {"hospital-0": 30, "hospital-1": 10, "rest": 13}
    assert notes == [
        'Merged into one site "rest": 2 of 4 hospitals (hospital-2, hospital-10); --smallest-site sets how '
        "many training windows a site needs."
    ]


def test_a_rest_that_is_too_small_takes_the_next_hospital():
    index = pd.concat(
        [make_hospital("0", "train", 30), make_hospital("1", "train", 12), make_hospital("2", "train", 3)]
    )
    site_of_patient = assign_patients(index, None, "natural", 0)
    assert count_training_records(index, site_of_patient) == {"hospital-0": 30, "rest": 15}


def test_natural_with_fewer_sites_merges_the_smallest():
    index = pd.concat([make_hospital(str(i), "train", 20 + 10 * i) for i in range(4)])
    site_of_patient = assign_patients(index, 2, "natural", 0)
    assert count_training_records(index, site_of_patient) == {"hospital-3": 50, "rest": 90}


@pytest.mark.parametrize("no_site", ["", None, np.nan])
def test_records_without_a_hospital_go_to_rest(no_site):
    index = pd.concat([make_hospital("0", "train", 30), make_hospital("x", "train", 12).assign(site=no_site)])
    notes = []
    site_of_patient = assign_patients(index, None, "natural", 0, notes=notes)
    assert count_training_records(index, site_of_patient) == {"hospital-0": 30, "rest": 12}
    assert notes == ['In site "rest" because no hospital is recorded: 12 records.']


def test_a_patient_belongs_to_the_hospital_of_most_records_and_the_first_wins_a_tie():
    index = pd.concat([make_hospital("0", "train", 20), make_hospital("1", "train", 20)])
    visits = [
        ("often", "1"),
        ("often", "0"),
        ("often", "0"),
        ("tie", "1"),
        ("tie", "0"),
        ("part", ""),
        ("part", "1"),
    ]
    more_rows = pd.DataFrame(visits, columns=["patient_id", "site"]).assign(split="val")
    more_rows["site"] = more_rows["site"].map(lambda site: f"hospital-{site}" if site else "")
    index = pd.concat([index, more_rows.assign(record_id=[f"e{i}" for i in range(len(more_rows))])])
    site_of_patient = assign_patients(index, None, "natural", 0)
    assert [site_of_patient[name] for name in ("often", "tie", "part")] == [
        "hospital-0",
        "hospital-1",
        "hospital-1",
    ]


NAMES = tuple("ABCDEFGHIJKL")


@given(k=st.integers(1, 12), seed=st.integers(0, 2**31), first=st.integers(0, 5))
def test_the_modalities_of_the_sites_of_one_shuffle_cover_all(k, seed, first):
    sites = -(-12 // k)
    selected = [select_modalities(NAMES, k, first * sites + i, seed) for i in range(sites)]
    assert all(len(names) == k and list(names) == sorted(names) for names in selected)
    assert set().union(*selected) == set(NAMES)
    assert selected == [select_modalities(NAMES, k, first * sites + i, seed) for i in range(sites)]


def test_sites_differ_in_their_modalities():
    selected = {select_modalities(NAMES, 9, i, 0) for i in range(8)}
    assert len(selected) == 8
    assert select_modalities(NAMES, 9, 0, 1) not in selected


def test_all_and_listed_modalities():
    assert select_modalities(NAMES, "all", 3, 0) == NAMES
    assert select_modalities(NAMES, ("C", "A"), 3, 0) == ("A", "C")


@pytest.mark.parametrize(
    ("modalities", "sentence"),
    [
        (0, "0 modalities were requested: choose 1 to 12"),
        (13, "13 modalities were requested: choose 1 to 12"),
        (("A", "Z"), "modality Z is unknown: choose from A, B"),
        ((), "a site needs at least one modality"),
        ("some", 'modalities "some" is not understood'),
    ],
)
def test_unknown_modalities_are_refused(modalities, sentence):
    with pytest.raises(DataError, match=sentence):
        select_modalities(NAMES, modalities, 0, 0)
