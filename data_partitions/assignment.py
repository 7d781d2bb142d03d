"""Assign patients, never single records, to sites, and modalities to sites."""

from collections.abc import Sequence

import numpy as np
import pandas as pd

from data_partitions.errors import DataError
from data_partitions.manifest import SPLITS
from data_partitions.sentences import count_noun, list_some

MIN_TRAIN_WINDOWS = 10  # of each site
MAX_DIRICHLET_DRAWS = 200
REST_SITE = "rest"


def assign_patients(
    index: pd.DataFrame,
    sites: int | None,
    split: str,
    seed: int,
    alpha: float = 0.5,
    *,
    labels: Sequence[str] = (),
    task: str = "multi-label",
    smallest_site: int = MIN_TRAIN_WINDOWS,
    notes: list[str] | None = None,
) -> dict[str, str]:
    """Assign every patient of an index to a site.

    - "natural": the hospital or unit (`site` column) where most of the patient's records were made. Hospitals
      with fewer than `smallest_site` training records become one site "rest", and so do the smallest ones
      beyond `sites`.
    - "iid": patients of each split are shuffled and dealt out to the sites, each split from the site on at
      which the one before ended.
    - "dirichlet": for each label, the shares of the sites are drawn from Dirichlet(`alpha`). A patient counts
      under the rarest of `labels` in his or her records; in a regression, under the quarter of the patients
      with similar numbers. The draw is repeated until every site has 10 training records and records for
      validation and test; after 200 draws the best one is taken.

    Parameters
    ----------
    index
        The index of a data set; see `DatasetReader`.
    sites
        Number of sites; for "natural" the largest number, where None sets no limit.
    split
        "natural", "iid" or "dirichlet".
    seed
        Seed of the random assignments.
    alpha
        Concentration of the Dirichlet distribution.
    labels
        Names of the label columns.
    task
        Kind of task.
    smallest_site
        Training records that a hospital must have to be a site of its own.
    notes
        A list to which sentences about merged and small sites are added.

    Returns
    -------
    dict
        Name of the site of each patient id.

    Raises
    ------
    DataError
        An option is unknown or out of range, or the sites cannot be made.
    """
    notes = [] if notes is None else notes
    if sites is not None and sites < 1:
        raise DataError(f"a federation needs at least one site, but {sites} were requested")
    if split == "natural":
        return _assign_to_hospitals(index, sites, smallest_site, notes)
    if split not in ("iid", "dirichlet"):
        raise DataError(f'split "{split}" is unknown: choose natural, iid or dirichlet')
    if sites is None:
        raise DataError(f"split {split} needs the number of sites: give it with --sites")
    trained = index.loc[index["split"] == "train", "patient_id"].nunique()
    if trained < sites:
        raise DataError(f"{sites} sites were requested, but only {trained} patients have training records")
    patients = index.groupby("patient_id").agg(split=("split", "first"))
    patients["train"] = (index["split"] == "train").groupby(index["patient_id"]).sum()
    rng = np.random.default_rng(seed)
    if split == "iid":
        assignment = _assign_iid(patients, sites, rng)
    else:
        if not alpha > 0:
            raise DataError(f"alpha of the Dirichlet split must be above 0, it is {alpha:g}")
        patients["label"] = _group_patients(index, list(labels), task).reindex(patients.index)
        assignment = _assign_dirichlet(patients, sites, rng, alpha)
        smallest = int(np.bincount(assignment, patients["train"], sites).min())
        if smallest < 1:
            raise DataError(
                f"no draw of Dirichlet({alpha:g}) gave each of {sites} sites a training record: "
                "request fewer sites or a larger alpha"
            )
        if smallest < MIN_TRAIN_WINDOWS:
            notes.append(f"The smallest site has only {smallest} training records.")
    return {patient: f"site-{site:02d}" for patient, site in zip(patients.index, assignment, strict=True)}


def _assign_iid(patients: pd.DataFrame, sites: int, rng: np.random.Generator) -> np.ndarray:
    # With few patients, the first site would else have all that are in validation and test.
    dealt = np.concatenate([rng.permutation(np.flatnonzero(patients["split"] == split)) for split in SPLITS])
    assignment = np.empty(len(patients), int)
    assignment[dealt] = np.arange(len(patients)) % sites
    return assignment


def _group_patients(index: pd.DataFrame, labels: list[str], task: str) -> pd.Series:
    """Return the rarest label in the records of each patient, or the quarter of a number; "none" without."""
    if not labels:
        raise DataError("split dirichlet needs labels: choose iid or natural")
    if task == "regression":
        means = index.groupby("patient_id")[labels[0]].mean()
        quarters = pd.qcut(means.rank(method="first"), 4, labels=False)
        return quarters.map(lambda quarter: "none" if pd.isna(quarter) else f"quarter {quarter:.0f}")
    index = index[["patient_id", *labels]].fillna(0)
    rarest_first = index[labels].sum().sort_values(kind="stable").index
    labels_of_patient = index.groupby("patient_id")[list(rarest_first)].max()
    return labels_of_patient.idxmax(axis=1).where(labels_of_patient.any(axis=1), "none")


def _assign_dirichlet(
    patients: pd.DataFrame, sites: int, rng: np.random.Generator, alpha: float
) -> np.ndarray:
    train_records = patients["train"].to_numpy()
    in_split = {split: (patients["split"] == split).to_numpy() for split in SPLITS}
    groups = [
        [np.flatnonzero(in_split[split] & (patients["label"] == label)) for split in SPLITS]
        for label in sorted(patients["label"].unique())
    ]

    def draw() -> np.ndarray:
        assignment = np.zeros(len(patients), int)
        for by_split in groups:
            bounds = np.cumsum(rng.dirichlet(np.full(sites, alpha)))  # the same shares in every split
            for rows in by_split:
                positions = (np.arange(len(rows)) + rng.random()) / max(1, len(rows))
                assignment[rng.permutation(rows)] = np.minimum(np.searchsorted(bounds, positions), sites - 1)
        return assignment

    def balance(assignment: np.ndarray) -> tuple[int, int]:
        """Rate an assignment: training records of the smallest site, then sites with evaluation splits."""
        evaluation = [np.bincount(assignment[in_split[split]], minlength=sites) for split in SPLITS[1:]]
        smallest = int(np.bincount(assignment, train_records, sites).min())
        return min(MIN_TRAIN_WINDOWS, smallest), int(sum((counts > 0).sum() for counts in evaluation))

    best = draw()
    best_balance = balance(best)
    for _ in range(MAX_DIRICHLET_DRAWS - 1):
        if best_balance == (MIN_TRAIN_WINDOWS, 2 * sites):
            break
        assignment = draw()
        if (new_balance := balance(assignment)) > best_balance:
            best, best_balance = assignment, new_balance
    return best


def _assign_to_hospitals(
    index: pd.DataFrame, sites: int | None, smallest_site: int, notes: list[str]
) -> dict[str, str]:
    recorded = index[index["site"].notna() & (index["site"] != "")]
    if recorded.empty:
        raise DataError("this data set records no hospitals: choose split iid or dirichlet, and --sites")
    # In order of appearance, so that the first hospital wins a tie.
    counts = recorded.groupby(["patient_id", "site"], sort=False).size().reset_index(name="records")
    counts = counts.sort_values("records", ascending=False, kind="stable")
    hospital_of_patient = counts.drop_duplicates("patient_id").set_index("patient_id")["site"]
    hospital_of_record = index["patient_id"].map(hospital_of_patient)  # NaN: not recorded
    records = hospital_of_record.value_counts()
    in_training = index["split"] == "train"
    train = hospital_of_record[in_training].value_counts().reindex(records.index, fill_value=0)
    # Smallest hospital first; ties by name, so that the order is fixed.
    hospitals = sorted(records.index, key=lambda site: (train[site], records[site], str(site)))
    merged = [site for site in hospitals if train[site] < smallest_site]
    separate = hospitals[len(merged) :]

    def in_rest() -> pd.Series:
        return hospital_of_record.isna() | hospital_of_record.isin(merged)

    # A "rest" that is too small to be a site also takes the next hospital.
    while separate and in_rest().any() and (in_rest() & in_training).sum() < smallest_site:
        merged.append(separate.pop(0))
    while sites is not None and separate and len(separate) + bool(in_rest().any()) > sites:
        merged.append(separate.pop(0))
    available = len(separate) + bool(in_rest().any())
    if sites is not None and available < sites:
        raise DataError(
            f"{sites} sites were requested, but only {available} hospitals have {smallest_site} training "
            "records: request fewer, give a smaller --smallest-site, or choose split iid or dirichlet"
        )
    if merged:
        names = sorted(map(str, merged), key=lambda name: (len(name), name))
        notes.append(
            f'Merged into one site "{REST_SITE}": {len(names)} of {len(records)} hospitals '
            f"({list_some(names)}); --smallest-site sets how many training windows a site needs."
        )
    if hospital_of_record.isna().any():
        count = count_noun(int(hospital_of_record.isna().sum()), "record")
        notes.append(f'In site "{REST_SITE}" because no hospital is recorded: {count}.')
    return {
        patient: hospital_of_patient[patient] if hospital_of_patient.get(patient) in separate else REST_SITE
        for patient in index["patient_id"].unique()
    }


def select_modalities(
    names: Sequence[str], modalities: int | str | Sequence[str], site_index: int, seed: int
) -> tuple[str, ...]:
    """Select the modalities that a site has.

    Parameters
    ----------
    names
        Names of all modalities of the data set.
    modalities
        "all", the same names for every site, or a number k. With a number, (seed, site_index) decide:
        successive sites take the next k names on a shuffled circle of all n names. Each shuffle serves
        ceil(n / k) sites, which together cover all names.
    site_index
        Position of the site in the federation.
    seed
        Seed of the federation.

    Returns
    -------
    tuple of str
        Names of the site's modalities, in the order of `names`.

    Raises
    ------
    DataError
        A name is unknown, no name is given, or k is not in 1..n.
    """
    names = tuple(names)
    if modalities == "all":
        return names
    if isinstance(modalities, int):
        count = modalities
        if not 1 <= count <= len(names):
            raise DataError(f"{count} modalities were requested: choose 1 to {len(names)}")
        sites_per_shuffle = -(-len(names) // count)
        shuffle, position = divmod(site_index, sites_per_shuffle)
        circle = np.random.default_rng([seed, shuffle]).permutation(len(names))
        selected = {names[circle[(position * count + i) % len(names)]] for i in range(count)}
    else:
        if isinstance(modalities, str):
            raise DataError(f'modalities "{modalities}" is not understood: give "all", a number or names')
        selected = set(modalities)
        if unknown := [name for name in modalities if name not in names]:
            raise DataError(f"modality {', '.join(unknown)} is unknown: choose from {', '.join(names)}")
        if not selected:
            raise DataError(f"a site needs at least one modality: choose from {', '.join(names)}")
    return tuple(name for name in names if name in selected)
