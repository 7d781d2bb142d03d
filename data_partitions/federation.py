"""A federation on one machine: the sites of a data set side by side in one directory.

federation/
  federation.json      the sites in order, and how they were made (`FederationInfo`); without it, all
                       partitions in the directory are sites
  <site>/              one partition per site
"""

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pandas as pd
from pydantic import BaseModel, ConfigDict, Field

from data_partitions.description.agreed_text import describe_difference
from data_partitions.errors import DataError
from data_partitions.layout import (
    FEDERATION_FILE,
    MANIFEST_FILE,
    is_federation,
    is_partition,
    list_partitions,
    require_federation,
)
from data_partitions.manifest import Manifest, Name
from data_partitions.partition import EmptyPartitionError, Partition, write_partition
from data_partitions.sentences import count_noun
from data_partitions.storage import atomic_directory, read_json


class FederationInfo(BaseModel):
    """`federation.json`: the sites in order, and how patients were assigned to them."""

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
        """Open a site by its position in `sites` or by its name; see `Partition.open`."""
        if isinstance(site, str) and site not in self.sites:
            raise DataError(f'{self.path} has no site "{site}": it has {", ".join(self.sites)}')
        if not isinstance(site, str) and not 0 <= site < len(self.sites):
            raise DataError(f"{self.path} has no site {site}: it has {len(self.sites)}, counted from 0")
        return Partition.open(self.path / (site if isinstance(site, str) else self.sites[site]), check)


def open_federation(path: str | Path) -> Federation:
    """Open a federation, also of partitions that were prepared one by one and lie side by side.

    It only checks that the folders of the sites exist; `open_site` checks what they hold.

    Raises
    ------
    DataError
        `path` is not the directory of a federation, or a site in it is missing or has another name than its
        folder.
    """
    path = Path(path)
    folders = list_partitions(path)
    if not is_federation(path) and not is_partition(path) and folders:
        return Federation(path, _describe_folders(path, folders))
    require_federation(path)
    info = read_json(path / FEDERATION_FILE, FederationInfo)
    missing = [site for site in info.sites if not (path / site).is_dir()]
    if missing:
        unexpected = [name for name in folders if name not in info.sites]
        renamed = f"name it so again (it has {', '.join(unexpected)}), or " if unexpected else ""
        raise DataError(
            f"{path} has no folder {', '.join(missing)}, which its {FEDERATION_FILE} lists: {renamed}prepare "
            "the federation again"
        )
    return Federation(path, info)


def _describe_folders(path: Path, folders: Sequence[str]) -> FederationInfo:
    """Describe partitions side by side as a federation; DataError when these are not sites of one."""
    manifests = {name: read_json(path / name / MANIFEST_FILE, Manifest) for name in folders}
    for name, manifest in manifests.items():
        if manifest.site != name:
            raise DataError(
                f"{path / name} holds the partition of {manifest.site}: name the folder {manifest.site}, or "
                f"move it out of {path}"
            )
    if problems := check_same_schema(list(manifests.values())):
        name, problem = next(iter(problems.items()))
        raise DataError(f"{path / name}: {problem}")
    return FederationInfo(
        dataset=next(iter(manifests.values())).dataset,
        sites=tuple(sort_site_names(manifests)),
        split="sites prepared one by one",
        seed=0,
        made_by="condi prepare --site",
    )


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
    """Write the sites of a federation as one directory, which appears complete or not at all.

    Parameters
    ----------
    path
        Directory of the federation, which must not exist.
    sites
        Manifest, index and windows of each site, in order; see `write_partition`. A site none of whose
        records can be used is excluded.
    dataset, split, seed, made_by
        How the federation was made; see `FederationInfo`.
    notes
        A list to which a sentence about each excluded site is added.

    Raises
    ------
    DataError
        `path` exists; two sites have the same name, different schemas or a patient in common; or
        `write_partition` refuses a site.
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
            except EmptyPartitionError as error:
                if notes is not None:
                    notes.append(f"A site is excluded: {error}.")
                continue
            manifests.append(manifest)
            patients[manifest.site] = set(index["patient_id"].astype(str))
        if not manifests:
            raise EmptyPartitionError("no record of any site can be used")
        problems = [f"site {name}: {problem}" for name, problem in check_same_schema(manifests).items()]
        problems += check_patients_apart(patients)
        if problems:
            raise DataError(problems[0])
        names = tuple(manifest.site for manifest in manifests)
        info = FederationInfo(dataset=dataset, sites=names, split=split, seed=seed, made_by=made_by)
        (temp / FEDERATION_FILE).write_text(info.model_dump_json(indent=2) + "\n", encoding="utf-8")
    return Federation(path, info)


def check_same_schema(manifests: Sequence[Manifest], expected_of: Manifest | None = None) -> dict[str, str]:
    """Compare the schema of each site with the one that most sites have, or with that of one of them.

    Returns
    -------
    dict
        How the schema of a site differs, by name of the site; empty when all agree.
    """
    if not manifests:
        return {}
    schemas = [manifest.schema_fields() for manifest in manifests]
    most_common = Counter(map(repr, schemas)).most_common(1)[0][0]
    of_most = next(schema for schema in schemas if repr(schema) == most_common)
    expected = expected_of.schema_fields() if expected_of else of_most
    agreeing = [m.site for m, schema in zip(manifests, schemas, strict=True) if schema == expected]
    others = agreeing[0] if len(agreeing) == 1 else f"{len(agreeing)} sites, such as {agreeing[0]}"
    return {
        manifest.site: "it does not fit: "
        f"{'; '.join(describe_differences(schema, expected, manifest.description_lines))} (as at {others})"
        for manifest, schema in zip(manifests, schemas, strict=True)
        if schema != expected
    }


def describe_differences(
    schema: dict[str, Any], expected: dict[str, Any], lines: Sequence[int] = ()
) -> Iterator[str]:
    """Yield how a schema differs from the expected one, as parts of a sentence.

    `lines` are those of the schema's dataset.toml, as `Manifest.description_lines`.
    """
    description, expected_description = schema["description"], expected["description"]
    if description and expected_description and description != expected_description:
        difference = describe_difference(description, expected_description, lines)
        yield f"its dataset.toml differs in {difference}"
        return  # all else follows from it
    if bool(description) != bool(expected_description):
        made, others = ("with", "without") if description else ("without", "with")
        yield f"it was prepared {made} a dataset.toml, the others {others}"
    if schema["dataset"] != expected["dataset"]:
        yield f"its dataset is {schema['dataset']}, expected {expected['dataset']}"
    modalities, expected_modalities = (
        {m["name"]: m for m in fields["modalities"]} for fields in (schema, expected)
    )
    if list(modalities) != list(expected_modalities):
        yield f"its modalities are {', '.join(modalities)}, expected {', '.join(expected_modalities)}"
    for name in [name for name in modalities if name in expected_modalities]:
        for key, words in (
            ("unit", "unit"),
            ("samples_per_patch", "samples per patch"),
            ("range", "range"),
        ):
            value, expected_value = modalities[name][key], expected_modalities[name][key]
            if value != expected_value:
                yield f"{name} has {words} {value}, expected {expected_value}"
    for key in ("patch_seconds", "patches", "task", "label_unit", "label_range"):
        if schema[key] != expected[key]:
            yield f"its {key} is {schema[key] or 'empty'}, expected {expected[key] or 'none'}"
    if schema["labels"] != expected["labels"]:
        yield (
            f"its labels are {', '.join(schema['labels']) or 'none'}, "
            f"expected {', '.join(expected['labels']) or 'none'}"
        )
    covariates, expected_covariates = (
        {c["name"]: c for c in fields["covariates"]} for fields in (schema, expected)
    )
    if list(covariates) != list(expected_covariates):
        yield (
            f"its covariates are {', '.join(covariates) or 'none'}, "
            f"expected {', '.join(expected_covariates) or 'none'}"
        )
    for name in [name for name in covariates if name in expected_covariates]:
        for key in ("unit", "categories", "groups"):
            value, expected_value = covariates[name][key], expected_covariates[name][key]
            if value != expected_value:
                yield f"covariate {name} has {key} {value}, expected {expected_value}"


def check_patients_apart(patients: dict[str, set[str]]) -> list[str]:
    """Return one sentence for each pair of sites that share patients; `patients` has the ids of each site."""
    names = list(patients)
    return [
        f"sites {a} and {b} share {count_noun(len(shared), 'patient')}, such as {min(shared)}: give "
        "each to one site"
        for i, a in enumerate(names)
        for b in names[i + 1 :]
        if (shared := patients[a] & patients[b])
    ]


def sort_site_names(names: Iterable[str]) -> list[str]:
    """Sort names with numbers by value: hospital-2 before hospital-10, and "rest" after both."""
    return sorted(names, key=lambda name: re.sub(r"\d+", lambda number: number[0].zfill(9), name))
