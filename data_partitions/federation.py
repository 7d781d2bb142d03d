"""A federation on one machine: the sites of a data set side by side in one directory.

federation/
  federation.json      the sites in order and how they were made (`FederationInfo`)
  <site>/              one partition per site
"""

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import pandas as pd
from pydantic import BaseModel, ConfigDict, Field

from data_partitions.assignment import assign_patients, site_modalities
from data_partitions.errors import DataError
from data_partitions.manifest import Manifest, Name
from data_partitions.partition import EmptyPartition, Partition, write_partition
from data_partitions.storage import atomic_directory, read_json

__all__ = [
    "Federation",
    "FederationInfo",
    "assign_patients",
    "check_patients_apart",
    "check_same_schema",
    "in_site_order",
    "open_federation",
    "site_modalities",
    "write_federation",
]


class FederationInfo(BaseModel):
    """`federation.json`."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    format: Literal[1] = 1
    dataset: str
    sites: tuple[Name, ...] = Field(min_length=1)
    split: str
    seed: int
    made_by: str


@dataclass(frozen=True)
class Federation:
    """Sites side by side in one directory. Open it with `open_federation`."""

    path: Path
    info: FederationInfo

    @property
    def sites(self) -> tuple[str, ...]:
        """Names of the sites, which are the names of their directories, in order."""
        return self.info.sites

    def open_site(self, site: int | str, check: bool = True) -> Partition:
        """Open a site by its place in `sites` or by its name."""
        if isinstance(site, str) and site not in self.sites:
            raise DataError(f'{self.path} has no site "{site}": it has {", ".join(self.sites)}')
        if not isinstance(site, str) and not 0 <= site < len(self.sites):
            raise DataError(f"{self.path} has no site {site}: it has {len(self.sites)}, counted from 0")
        return Partition.open(self.path / (site if isinstance(site, str) else self.sites[site]), check)


def open_federation(path: str | Path) -> Federation:
    """Open a federation. Only looks whether the sites are there: `open_site` checks what is in them."""
    path = Path(path)
    if not path.is_dir():
        raise DataError(f"there is no federation at {path}: make one with `condi prepare`")
    try:
        info = read_json(path / "federation.json", FederationInfo)
    except FileNotFoundError:
        if (path / "manifest.json").exists():
            raise DataError(f"{path} is one site, not a federation: give the directory it is in") from None
        raise DataError(f"{path} has no federation.json: give a directory made by `condi prepare`") from None
    absent = [site for site in info.sites if not (path / site).is_dir()]
    if absent:
        raise DataError(f"{path} lacks the directory of site {', '.join(absent)}: prepare it anew")
    return Federation(path, info)


def write_federation(
    path: str | Path,
    sites: Iterable[tuple[Manifest, pd.DataFrame, Iterable[np.ndarray | None]]],
    *,
    dataset: str,
    split: str,
    seed: int,
    made_by: str,
    notes: list[str] | None = None,
) -> Federation:
    """Write (manifest, index, windows) of each site, in order, as one directory that appears whole or not.

    See `write_partition` for the three. A site of which no record could be used is left out, which `notes`
    then says. Raises DataError when `path` exists, when two sites have the same
    name, different schemas or a patient in common, and for what `write_partition` refuses.
    """
    path = Path(path)
    manifests: list[Manifest] = []
    patients: dict[str, set[str]] = {}
    with atomic_directory(path) as temp:
        for manifest, index, windows in sites:
            if manifest.site in patients:
                raise DataError(f"two sites are called {manifest.site}: give each its own name")
            try:
                write_partition(temp / manifest.site, manifest, index, windows)
            except EmptyPartition as error:
                if notes is not None:
                    notes.append(f"The federation is without it: {error}.")
                continue
            manifests.append(manifest)
            patients[manifest.site] = set(index["patient_id"].astype(str))
        if not manifests:
            raise DataError("no record of any site can be used")
        problems = [f"site {name}: {why}" for name, why in check_same_schema(manifests).items()]
        if problems := problems + check_patients_apart(patients):
            raise DataError(problems[0])
        names = tuple(manifest.site for manifest in manifests)
        info = FederationInfo(dataset=dataset, sites=names, split=split, seed=seed, made_by=made_by)
        (temp / "federation.json").write_text(info.model_dump_json(indent=2) + "\n", encoding="utf-8")
    return Federation(path, info)


def check_same_schema(manifests: Sequence[Manifest]) -> dict[str, str]:
    """How the schema of a site differs from what most sites have, by its name; empty when all agree."""
    if not manifests:
        return {}
    schemas = [manifest.schema() for manifest in manifests]
    common = Counter(map(repr, schemas)).most_common(1)[0][0]
    usual = next(schema for schema in schemas if repr(schema) == common)
    fellows = [m.site for m, schema in zip(manifests, schemas, strict=True) if schema == usual]
    others = fellows[0] if len(fellows) == 1 else f"{fellows[0]} and {len(fellows) - 1} more"
    return {
        manifest.site: f"it does not fit: {'; '.join(_differences(schema, usual))} (as {others})"
        for manifest, schema in zip(manifests, schemas, strict=True)
        if schema != usual
    }


def _differences(schema: dict, usual: dict) -> Iterable[str]:
    if schema["dataset"] != usual["dataset"]:
        yield f"its dataset is {schema['dataset']}, expected {usual['dataset']}"
    mine, theirs = ({m["name"]: m for m in s["modalities"]} for s in (schema, usual))
    if list(mine) != list(theirs):
        yield f"its modalities are {', '.join(mine)}, expected {', '.join(theirs)}"
    for name in [name for name in mine if name in theirs]:
        for key, what in (("unit", "unit"), ("samples_per_patch", "samples per patch")):
            if mine[name][key] != theirs[name][key]:
                yield f"{name} has {what} {mine[name][key]}, expected {theirs[name][key]}"
    for key in ("patch_seconds", "patches", "task", "ordered"):
        if schema[key] != usual[key]:
            yield f"its {key} is {schema[key]}, expected {usual[key]}"
    if schema["labels"] != usual["labels"]:
        yield f"its labels are {', '.join(schema['labels'])}, expected {', '.join(usual['labels'])}"


def check_patients_apart(patients: dict[str, set[str]]) -> list[str]:
    """One sentence per pair of sites that share patients; `patients` has the patient ids of each site."""
    names = list(patients)
    return [
        f"sites {a} and {b} share {len(both)} patient(s), such as {min(both)}: give each to one site"
        for i, a in enumerate(names)
        for b in names[i + 1 :]
        if (both := patients[a] & patients[b])
    ]


def in_site_order(names: Iterable[str]) -> list[str]:
    """Sorted with numbers by value: hospital-2 before hospital-10, and "rest" after both."""
    return sorted(names, key=lambda name: re.sub(r"\d+", lambda number: number[0].zfill(9), name))
