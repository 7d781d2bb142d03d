"""Whether the table and the files fit together, and what they say of patients and sites."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from statistics import median

from data_partitions.checks.finding import Finding, list_reasons
from data_partitions.sentences import count_noun, list_some
from data_partitions.sources.described.listing import ListedRecording, Listing


def check_listing(listing: Listing, noun: str) -> Iterator[Finding]:
    """Count recordings, rows without a file, files without a row, patients and sites."""
    recordings = listing.recordings
    if listing.rows_without_file:
        rows = listing.rows_without_file
        yield Finding(
            "warning",
            "table",
            f"{count_noun(len(rows), 'row')} without a {noun} ({list_some(rows)}): left out",
        )
    if listing.files_without_row:
        files = listing.files_without_row
        sentence = (
            f"{count_noun(len(files), 'file')} without a row in the table ({list_some(files)}): left out"
        )
        yield Finding("warning", "files", sentence)
    if listing.faults:
        yield Finding("warning", "table", f"left out: {list_reasons(listing.faults)}")
    for sentence in listing.clashes:
        yield Finding("warning", "table.join", sentence)
    by_patient: Counter[str] = Counter(listed.patient for listed in recordings)
    nameless = by_patient.pop("", 0)
    if nameless:
        yield Finding("warning", "table.patient", f"{count_noun(nameless, noun)} without a patient: left out")
    if not by_patient:
        return
    counts = sorted(by_patient.values())
    several = f"{counts[0]} to {counts[-1]} each, median {median(counts):g}"
    if counts[0] == counts[-1]:
        several = "one each" if counts[0] == 1 else f"{counts[0]} each"
    yield Finding(
        "fact",
        "patients",
        f"{count_noun(len(recordings), noun)} of {count_noun(len(by_patient), 'patient')} ({several})",
    )
    yield from _check_sites(recordings)


def _check_sites(recordings: Sequence[ListedRecording]) -> Iterator[Finding]:
    sites: dict[str, Counter[str]] = defaultdict(Counter)
    for listed in recordings:
        sites[listed.patient][listed.site] += 1
    names = Counter(listed.site for listed in recordings)
    if set(names) == {""}:
        return
    unnamed = names.pop("", 0)
    if unnamed:
        yield Finding("warning", "table.site", f"{count_noun(unnamed, 'recording')} without a site")
    low, high = min(names.values()), max(names.values())
    size = f"{low} to {high} recordings" if low < high else f"{count_noun(low, 'recording')} each"
    yield Finding("fact", "sites", f"{count_noun(len(names), 'site')} with {size}")
    moved = [patient for patient, of_patient in sites.items() if len(of_patient) > 1 and patient]
    if moved:
        yield Finding(
            "warning",
            "table.site",
            f"{count_noun(len(moved), 'patient')} ({list_some(moved)}) at several sites: in a federation by "
            "site they may be in training at one and in test at the other",
        )


def find_duplicates(groups: Sequence[Sequence[str]], patient_of: Mapping[str, str]) -> Iterator[Finding]:
    """Say which recordings, in groups of those with the same samples, are of one patient or of several."""
    across = [group for group in groups if len({patient_of[name] for name in group}) > 1]
    within = [group for group in groups if group not in across]
    for groups_of_kind, whose in ((across, "of different patients"), (within, "of one patient")):
        if not groups_of_kind:
            continue
        names = list_some(" = ".join(group) for group in groups_of_kind)
        count = count_noun(sum(map(len, groups_of_kind)), "recording")
        advice = ": these patients count as one, so that no recording is in training and in test"
        sentence = f"{count} {whose} have the same samples as another one ({names})"
        yield Finding("warning", "duplicates", sentence + (advice if groups_of_kind is across else ""))
