from collections import Counter

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from data_partitions import DataError
from data_partitions.assignment import assign_patients, select_modalities

LABELS = ["NORM", "MI", "HYP"]


def records(patients=300, hospitals=6, seed=0) -> pd.DataFrame:
    """Patients with one to three records, one split and mostly one hospital each."""
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


def hospital(site, split, count, start=0) -> pd.DataFrame:
    ids = [f"{site}-{split}-{i}" for i in range(start, start + count)]
    name = f"hospital-{site}"
    return pd.DataFrame({"record_id": ids, "patient_id": ids, "split": split, "site": name})


def train_counts(index, home) -> Counter:
    return Counter(home[patient] for patient in index.loc[index["split"] == "train", "patient_id"])


@pytest.mark.parametrize("split", ["natural", "iid", "dirichlet"])
@settings(max_examples=8, deadline=None)
@given(seed=st.integers(0, 10**6), sites=st.integers(1, 4))
def test_every_patient_has_one_site_and_every_site_trains(split, seed, sites):
    index = records(seed=seed % 7)
    home = assign_patients(index, sites, split, seed, labels=LABELS)
    assert set(home) == set(index["patient_id"])
    counts = train_counts(index, home)
    assert len(set(home.values())) == sites
    assert min(counts[site] for site in set(home.values())) >= 10
    assert home == assign_patients(index, sites, split, seed, labels=LABELS), "deterministic"


@pytest.mark.parametrize("split", ["iid", "dirichlet"])
def test_the_seed_and_not_the_order_of_rows_decides(split):
    index = records()
    home = assign_patients(index, 5, split, 0, labels=LABELS)
    shuffled = index.sample(frac=1, random_state=1).reset_index(drop=True)
    assert assign_patients(shuffled, 5, split, 0, labels=LABELS) == home
    assert assign_patients(index, 5, split, 1, labels=LABELS) != home
    assert sorted(set(home.values())) == [f"site-{i:02d}" for i in range(5)]


def test_iid_gives_every_site_its_share_of_each_split():
    index = records()
    home = assign_patients(index, 4, "iid", 0)
    of_split = index.drop_duplicates("patient_id").set_index("patient_id")["split"]
    for split in ("train", "val", "test"):
        counts = Counter(home[patient] for patient in of_split.index[of_split == split])
        assert len(counts) == 4
        assert max(counts.values()) - min(counts.values()) <= 1


def skew(alpha: float) -> float:
    """Mean distance of the sites' label shares from the shares of all."""
    index = records(patients=2000)
    home = index["patient_id"].map(assign_patients(index, 5, "dirichlet", 0, alpha, labels=LABELS))
    shares = index.groupby(home)[LABELS].mean()
    return float((shares - index[LABELS].mean()).abs().to_numpy().mean())


def test_dirichlet_is_more_skewed_for_a_small_alpha():
    assert skew(1000) < 0.02 < 0.1 < skew(0.3)


def test_dirichlet_goes_by_the_rarest_label_of_the_patient():
    # Shares of Dirichlet(tiny alpha) are nearly one-hot: all patients of a label are at one site.
    index = records(patients=400)
    rare = set(index.loc[index["HYP"] == 1, "patient_id"])
    home = assign_patients(index, 2, "dirichlet", 0, 1e-3, labels=LABELS)
    assert len({home[patient] for patient in rare}) == 1
    assert len(set(home.values())) == 2


def test_dirichlet_keeps_as_many_as_can_be_had_and_says_so():
    index = records(patients=20)
    notes = []
    home = assign_patients(index, 5, "dirichlet", 0, labels=LABELS, notes=notes)
    counts = train_counts(index, home)
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
def test_what_cannot_be_had_is_said(arguments, sentence):
    with pytest.raises(DataError, match=sentence):
        assign_patients(records(), *arguments, labels=LABELS)


def test_natural_merges_small_hospitals_into_rest():
    index = pd.concat(
        [
            hospital("0", "train", 30),
            hospital("1", "train", 10),
            hospital("2", "train", 9),
            hospital("10", "train", 4),
        ]
    )
    notes = []
    home = assign_patients(index, None, "natural", 0, notes=notes)
    assert train_counts(index, home) == {"hospital-0": 30, "hospital-1": 10, "rest": 13}
    assert notes == ['Merged into one site "rest": hospital-2, hospital-10.']


def test_a_rest_that_is_too_small_takes_in_the_next_hospital():
    index = pd.concat([hospital("0", "train", 30), hospital("1", "train", 12), hospital("2", "train", 3)])
    home = assign_patients(index, None, "natural", 0)
    assert train_counts(index, home) == {"hospital-0": 30, "rest": 15}


def test_natural_with_fewer_sites_merges_the_smallest():
    index = pd.concat([hospital(str(i), "train", 20 + 10 * i) for i in range(4)])
    home = assign_patients(index, 2, "natural", 0)
    assert train_counts(index, home) == {"hospital-3": 50, "rest": 90}


@pytest.mark.parametrize("nothing", ["", None, np.nan])
def test_records_without_a_hospital_go_to_rest(nothing):
    index = pd.concat([hospital("0", "train", 30), hospital("x", "train", 12).assign(site=nothing)])
    notes = []
    home = assign_patients(index, None, "natural", 0, notes=notes)
    assert train_counts(index, home) == {"hospital-0": 30, "rest": 12}
    assert notes == ['In site "rest" because no hospital is recorded: 12 records.']


def test_a_patient_goes_where_most_records_are_and_a_tie_to_the_first():
    index = pd.concat([hospital("0", "train", 20), hospital("1", "train", 20)])
    visits = [
        ("often", "1"),
        ("often", "0"),
        ("often", "0"),
        ("tie", "1"),
        ("tie", "0"),
        ("part", ""),
        ("part", "1"),
    ]
    extra = pd.DataFrame(visits, columns=["patient_id", "site"]).assign(split="val")
    extra["site"] = extra["site"].map(lambda site: f"hospital-{site}" if site else "")
    index = pd.concat([index, extra.assign(record_id=[f"e{i}" for i in range(len(extra))])])
    home = assign_patients(index, None, "natural", 0)
    assert [home[name] for name in ("often", "tie", "part")] == ["hospital-0", "hospital-1", "hospital-1"]


NAMES = tuple("ABCDEFGHIJKL")


@given(k=st.integers(1, 12), seed=st.integers(0, 2**31), first=st.integers(0, 5))
def test_k_modalities_of_some_sites_in_a_row_cover_all(k, seed, first):
    turns = -(-12 // k)
    chosen = [select_modalities(NAMES, k, first * turns + i, seed) for i in range(turns)]
    assert all(len(names) == k and list(names) == sorted(names) for names in chosen)
    assert set().union(*chosen) == set(NAMES)
    assert chosen == [select_modalities(NAMES, k, first * turns + i, seed) for i in range(turns)]


def test_sites_differ_in_their_modalities():
    chosen = {select_modalities(NAMES, 9, i, 0) for i in range(8)}
    assert len(chosen) == 8
    assert select_modalities(NAMES, 9, 0, 1) not in chosen


def test_all_and_listed_modalities():
    assert select_modalities(NAMES, "all", 3, 0) == NAMES
    assert select_modalities(NAMES, ("C", "A"), 3, 0) == ("A", "C")


@pytest.mark.parametrize(
    ("asked", "sentence"),
    [
        (0, "0 modalities were requested: choose 1 to 12"),
        (13, "13 modalities were requested: choose 1 to 12"),
        (("A", "Z"), "modality Z is unknown: choose from A, B"),
        ((), "a site needs at least one modality"),
        ("some", 'modalities "some" is not understood'),
    ],
)
def test_unknown_modalities_are_refused(asked, sentence):
    with pytest.raises(DataError, match=sentence):
        select_modalities(NAMES, asked, 0, 0)
