"""Which site each patient belongs to, and which modalities a site has. Patients, never records."""

from collections.abc import Sequence

import numpy as np
import pandas as pd

from data_partitions.errors import DataError
from data_partitions.manifest import SPLITS

MIN_TRAIN_WINDOWS = 10  # training windows that make a site worth having
REDRAWS = 200
REST_SITE = "rest"


def assign_patients(
    index: pd.DataFrame,
    sites: int | None,
    split: str,
    seed: int,
    alpha: float = 0.5,
    *,
    labels: Sequence[str] = (),
    notes: list[str] | None = None,
) -> dict[str, str]:
    """Patient id -> name of the site, for every patient of the index.

    - "natural": the hospital or unit (`site` column) where most of the patient's records were made. Those
      with fewer than 10 training records become one site "rest", and so do the smallest ones beyond `sites`
      (None: no bound); `notes` says which.
    - "iid": patients of each split shuffled and dealt out to `sites` sites.
    - "dirichlet": for each label, shares of the sites drawn from Dirichlet(`alpha`); a patient counts
      under the rarest of `labels` in his or her records. Redrawn until every site has 10 training
      records and something to validate and test on, or as near to that as 200 draws come.

    Raises DataError when that many sites cannot be had.
    """
    notes = [] if notes is None else notes
    if sites is not None and sites < 1:
        raise DataError(f"a federation needs at least one site, {sites} were asked for")
    if split == "natural":
        return _natural(index, sites, notes)
    if split not in ("iid", "dirichlet"):
        raise DataError(f'split "{split}" is unknown: choose natural, iid or dirichlet')
    if sites is None:
        raise DataError(f"split {split} needs the number of sites: say it with --sites")
    trained = index.loc[index["split"] == "train", "patient_id"].nunique()
    if trained < sites:
        raise DataError(f"{sites} sites were asked for, but only {trained} patients have training records")
    patients = index.groupby("patient_id").agg(split=("split", "first"))
    patients["train"] = (index["split"] == "train").groupby(index["patient_id"]).sum()
    rng = np.random.default_rng(seed)
    if split == "iid":
        chosen = _iid(patients, sites, rng)
    else:
        if not alpha > 0:
            raise DataError(f"alpha of the Dirichlet split must be above 0, it is {alpha:g}")
        patients["label"] = _rarest_label(index, list(labels)).reindex(patients.index)
        chosen = _dirichlet(patients, sites, rng, alpha)
        fewest = int(np.bincount(chosen, patients["train"], sites).min())
        if fewest < 1:
            raise DataError(
                f"no draw of Dirichlet({alpha:g}) gave each of {sites} sites a training record: "
                "ask for fewer sites or a larger alpha"
            )
        if fewest < MIN_TRAIN_WINDOWS:
            notes.append(f"The smallest site has only {fewest} training records.")
    return {patient: f"site-{site:02d}" for patient, site in zip(patients.index, chosen, strict=True)}


def _iid(patients: pd.DataFrame, sites: int, rng: np.random.Generator) -> np.ndarray:
    chosen = np.zeros(len(patients), int)
    for split in SPLITS:
        rows = rng.permutation(np.flatnonzero(patients["split"] == split))
        chosen[rows] = np.arange(len(rows)) % sites
    return chosen


def _rarest_label(index: pd.DataFrame, labels: list[str]) -> pd.Series:
    if not labels:
        raise DataError("split dirichlet needs the names of the label columns")
    rarest_first = index[labels].sum().sort_values(kind="stable").index
    has = index.groupby("patient_id")[list(rarest_first)].max()
    return has.idxmax(axis=1).where(has.any(axis=1), "none")


def _dirichlet(patients: pd.DataFrame, sites: int, rng: np.random.Generator, alpha: float) -> np.ndarray:
    train = patients["train"].to_numpy()
    in_split = {split: (patients["split"] == split).to_numpy() for split in SPLITS}
    groups = [
        [np.flatnonzero(in_split[split] & (patients["label"] == label)) for split in SPLITS]
        for label in sorted(patients["label"].unique())
    ]

    def draw() -> np.ndarray:
        chosen = np.zeros(len(patients), int)
        for by_split in groups:
            bounds = np.cumsum(rng.dirichlet(np.full(sites, alpha)))  # the same shares in every split
            for rows in by_split:
                places = (np.arange(len(rows)) + rng.random()) / max(1, len(rows))
                chosen[rng.permutation(rows)] = np.minimum(np.searchsorted(bounds, places), sites - 1)
        return chosen

    def merit(chosen: np.ndarray) -> tuple[int, int]:
        others = [np.bincount(chosen[in_split[split]], minlength=sites) for split in SPLITS[1:]]
        fewest = int(np.bincount(chosen, train, sites).min())
        return min(MIN_TRAIN_WINDOWS, fewest), int(sum((counts > 0).sum() for counts in others))

    best, best_merit = None, (-1, -1)
    for _ in range(REDRAWS):
        chosen = draw()
        if (chosen_merit := merit(chosen)) > best_merit:
            best, best_merit = chosen, chosen_merit
        if best_merit == (MIN_TRAIN_WINDOWS, 2 * sites):
            break
    return best


def _natural(index: pd.DataFrame, sites: int | None, notes: list[str]) -> dict[str, str]:
    recorded = index[index["site"].notna() & (index["site"] != "")]
    if recorded.empty:
        raise DataError("this data set records no hospitals: choose split iid or dirichlet, and --sites")
    # In order of appearance, so that the first hospital wins a tie.
    counts = recorded.groupby(["patient_id", "site"], sort=False).size().reset_index(name="records")
    counts = counts.sort_values("records", ascending=False, kind="stable")
    home = counts.drop_duplicates("patient_id").set_index("patient_id")["site"]
    homes = index["patient_id"].map(home)  # per record; NaN: not recorded
    records = homes.value_counts()
    train = homes[index["split"] == "train"].value_counts().reindex(records.index, fill_value=0)
    # Smallest hospital first; ties by name, so that the order is fixed.
    hospitals = sorted(records.index, key=lambda site: (train[site], records[site], str(site)))
    merged = [site for site in hospitals if train[site] < MIN_TRAIN_WINDOWS]
    kept = hospitals[len(merged) :]

    def rest() -> pd.Series:
        return homes.isna() | homes.isin(merged)

    # A "rest" too small to be a site takes in the next hospital.
    while kept and rest().any() and (rest() & (index["split"] == "train")).sum() < MIN_TRAIN_WINDOWS:
        merged.append(kept.pop(0))
    while sites is not None and kept and len(kept) + bool(rest().any()) > sites:
        merged.append(kept.pop(0))
    available = len(kept) + bool(rest().any())
    if sites is not None and available < sites:
        raise DataError(
            f"{sites} sites were asked for, but only {available} hospitals have {MIN_TRAIN_WINDOWS} training "
            "records: ask for fewer, or choose split iid or dirichlet"
        )
    if merged:
        names = ", ".join(sorted(map(str, merged), key=lambda name: (len(name), name)))
        notes.append(f'Merged into one site "{REST_SITE}": {names}.')
    if homes.isna().any():
        notes.append(f'In site "{REST_SITE}" as no hospital is recorded: {int(homes.isna().sum())} records.')
    return {
        patient: home[patient] if home.get(patient) in kept else REST_SITE
        for patient in index["patient_id"].unique()
    }


def site_modalities(
    names: Sequence[str], k_or_list: int | str | Sequence[str], site_index: int, seed: int
) -> tuple[str, ...]:
    """The modalities that a site has, in the order of `names`.

    "all", the same list for every site, or k of them by (seed, site_index): sites take turns of k along a
    shuffled circle of the names, so any ceil(n / k) sites in a row from a fresh shuffle cover all names.
    Raises DataError for an unknown name or a k that is not in 1..n.
    """
    names = tuple(names)
    if k_or_list == "all":
        return names
    if isinstance(k_or_list, int):
        k = k_or_list
        if not 1 <= k <= len(names):
            raise DataError(f"{k} modalities were asked for: choose 1 to {len(names)}")
        turns = -(-len(names) // k)
        shuffle, turn = divmod(site_index, turns)
        circle = np.random.default_rng([seed, shuffle]).permutation(len(names))
        chosen = {names[circle[(turn * k + i) % len(names)]] for i in range(k)}
    else:
        if isinstance(k_or_list, str):
            raise DataError(f'modalities "{k_or_list}" is not understood: give "all", a number or names')
        chosen = set(k_or_list)
        if unknown := [name for name in k_or_list if name not in names]:
            raise DataError(f"modality {', '.join(unknown)} is unknown: choose from {', '.join(names)}")
        if not chosen:
            raise DataError(f"a site needs at least one modality: choose from {', '.join(names)}")
    return tuple(name for name in names if name in chosen)
