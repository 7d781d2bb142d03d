"""Training, validation and test patients, as `[split]` says."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence
from pathlib import Path

from data_partitions.cell_texts import normalise
from data_partitions.description.sections import Description
from data_partitions.errors import DataError
from data_partitions.manifest import Split
from data_partitions.sentences import count_noun, quote_some
from data_partitions.sources.described.faults import description_error, require_column
from data_partitions.sources.described.listing import ListedRecording
from data_partitions.splits import hash_splits

MEDS_SPLITS: dict[str, Split] = {"train": "train", "tuning": "val", "held_out": "test"}


def split_patients(
    description: Description, source: Path, recordings: Sequence[ListedRecording]
) -> dict[str, Split]:
    """Assign each patient of the recordings to train, val or test; DataError when one is in two splits.

    By hash, the patients of each hospital are split for themselves, unless the description says otherwise, so
    that a hospital has the same splits whether it is prepared alone or with others.
    """
    section = description.split
    if section.by == "hash":
        return _split_by_hash(description, recordings)
    if section.by == "column":
        return _split_by_column(description, recordings)
    return _split_by_file(description, source, recordings)


def _split_by_hash(description: Description, recordings: Sequence[ListedRecording]) -> dict[str, Split]:
    name, shares = description.dataset.name, description.split.shares
    if description.split.within == "all":
        return hash_splits(name, [listed.patient for listed in recordings], shares)
    sites_of_patient: dict[str, Counter[str]] = defaultdict(Counter)
    for listed in recordings:
        sites_of_patient[listed.patient][listed.site] += 1
    patients_of_site: dict[str, list[str]] = defaultdict(list)
    for patient, sites in sites_of_patient.items():
        patients_of_site[sites.most_common(1)[0][0]].append(patient)
    splits: dict[str, Split] = {}
    for patients in patients_of_site.values():
        splits.update(hash_splits(name, patients, shares))
    return splits


def _split_by_column(description: Description, recordings: Sequence[ListedRecording]) -> dict[str, Split]:
    section = description.split
    require_column(description, "split.column", section.column, recordings[0].row)
    split_of_text: dict[str, Split] = dict.fromkeys(map(normalise, section.val), "val")
    split_of_text.update(dict.fromkeys(map(normalise, section.test), "test"))
    texts = Counter(normalise(listed.row[section.column]) for listed in recordings)
    if not any(text in split_of_text for text in texts):
        raise description_error(
            description,
            "split",
            f"no recording is in validation or test: {section.column} has {quote_some(texts)}, expected "
            f"{quote_some(split_of_text)}",
        )
    splits: dict[str, Split] = {}
    for listed in recordings:
        split = split_of_text.get(normalise(listed.row[section.column]), "train")
        if splits.setdefault(listed.patient, split) != split:
            raise DataError(
                f"patient {listed.patient} is in {splits[listed.patient]} and in {split} by the column "
                f"{section.column}: all recordings of a patient must be in one split"
            )
    return splits


def _split_by_file(
    description: Description, source: Path, recordings: Sequence[ListedRecording]
) -> dict[str, Split]:
    from data_partitions.sources.described.table import read_cells

    file = source / description.split.file
    if not file.is_file():
        raise description_error(description, "split.file", f"there is no {file}")
    table = read_cells(file)
    for column in ("subject_id", "split"):
        if column not in table:
            raise DataError(f"{file} has no column {column}: it has {', '.join(table.columns)}")
    unknown = sorted(set(table["split"]) - set(MEDS_SPLITS))
    if unknown:
        raise DataError(f"{file} has split {quote_some(unknown)}, expected {quote_some(MEDS_SPLITS)}")
    split_of_subject = dict(zip(table["subject_id"].map(normalise), table["split"], strict=True))
    patients = {listed.patient for listed in recordings}
    missing = sorted(patients - set(split_of_subject))
    if missing:
        raise DataError(f"{file} has no split of {count_noun(len(missing), 'patient')}, such as {missing[0]}")
    splits = {patient: MEDS_SPLITS[split_of_subject[patient]] for patient in patients}
    if "train" not in splits.values():
        counts = Counter(split_of_subject[patient] for patient in patients)
        listed = ", ".join(f"{split} {count}" for split, count in sorted(counts.items()))
        raise description_error(
            description,
            "split.file",
            f"{file} has no training subject among those with a stay ({listed}): write "
            'by = "hash" in [split]',
        )
    return splits
