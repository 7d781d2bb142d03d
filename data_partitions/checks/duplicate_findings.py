"""Recordings with the same samples that belong to different patients."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from typing import TypeVar

from data_partitions.checks.finding import Finding
from data_partitions.sentences import count_noun, list_some

Key = TypeVar("Key")


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


def group_equal(keys: Mapping[str, Key]) -> list[list[str]]:
    """Return the names that have the same key, which are at least two."""
    groups: dict[Key, list[str]] = defaultdict(list)
    for name, key in keys.items():
        if key:
            groups[key].append(name)
    return [group for group in groups.values() if len(group) > 1]
