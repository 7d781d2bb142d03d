"""Which partition a message is about, on which device, and what of it this run may see."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from flwr.app import Context

from condi_core.config import RunConfig
from condi_core.protocol import POOLED_SITE
from condi_core.windows import Schema, Windows
from data_partitions import DataError
from data_partitions.federation import open_federation
from data_partitions.missingness import Missingness, missingness_masks
from data_partitions.partition import Partition
from data_partitions.pool import Pool


def partitions_of_node(context: Context, federation: str) -> dict[str, Path]:
    """Partitions behind this node, by name of the site.

    A hospital's node names its one partition in the node config (`data`). A virtual node of a simulation
    has a number instead, and stands for every n-th site of the run's federation, so that any number of
    nodes serves any number of sites.
    """
    node = context.node_config
    if "data" in node:
        path = Path(str(node["data"]))
        if not path.is_absolute():
            raise DataError(f"the node config's data must be an absolute path, got '{path}'")
        return {Partition.open(path, check=False).manifest.site: path}
    if not is_virtual(context):
        raise DataError(
            "this node's config names no data: start it with --node-config 'data=\"/its/folder\"'"
        )
    found = open_federation(federation)
    mine = found.sites[int(node["partition-id"]) :: int(node["num-partitions"])]
    return {name: found.path / name for name in mine}


def pooled(federation: str, config: RunConfig) -> tuple[Pool, RunConfig]:
    """All sites of a simulation as one, and settings with as many windows per step as sites together have."""
    found = open_federation(federation)
    names = config.named_sites or found.sites
    pool = Pool(tuple(found.open_site(name, check=False) for name in sorted(names)), POOLED_SITE)
    asked = max(1, round(config.sites_per_round * len(pool.parts)))
    larger = {
        phase: part.model_copy(update={"batch": part.batch * asked})
        for phase, part in (("imputer", config.imputer), ("task", config.task))
    }
    return pool, config.model_copy(update=larger)


def is_virtual(context: Context) -> bool:
    """True on a node of a simulation, which knows its number and nothing else."""
    return "partition-id" in context.node_config and "data" not in context.node_config


@dataclass(frozen=True)
class Site:
    """One site in one run."""

    name: str
    partition: Partition | Pool
    config: RunConfig
    device: torch.device
    cache: Path

    @property
    def schema(self) -> Schema:
        return Schema.model_validate(self.partition.manifest.schema())

    def discloses(self, split: str) -> bool:
        """Whether counts and scores of a split may be told under `privacy.smallest-count`.

        Not so when the split, a label in it, or the rest without that label, is of some patients but of
        fewer than that. It is the whole split then: its other counts and the total would give away the one.
        """
        rows = self.partition.rows(split)
        patients, labels = self.partition.patient_ids[rows], self.partition.labels[rows]
        groups = [np.ones(len(rows), bool), *self.schema.task_kind.label_groups(labels)]
        sizes = [len(np.unique(patients[group])) for group in groups]
        return not any(0 < size < self.config.privacy.smallest_count for size in sizes)

    def scored(self, split: str) -> np.ndarray:
        """Rows of a split that evaluations may be about."""
        rows = self.partition.rows(split)
        return rows if self.discloses(split) else rows[:0]

    def hide(
        self, values: np.ndarray, observed: np.ndarray, rows: np.ndarray, seed: int, missingness: Missingness
    ) -> np.ndarray:
        """Holes in `observed` (window, modality, patch, sample), fixed by `seed`, record id and site."""
        return missingness_masks(self.partition, rows, values, observed, missingness, seed)

    def read(self, rows: np.ndarray, all_measured: bool = False) -> Windows:
        """Windows as the run sees them: the samples its simulated holes hide are blank.

        Each has the holes of its split, whichever rows are read together.
        With `all_measured` all that was measured of the modalities which the site has in this run.
        """
        values, observed = self.partition.read(rows)
        splits = self.partition.splits[rows]
        hidden = np.zeros_like(observed)
        for split in np.unique(splits):
            missingness, those = (
                Missingness(**self.config.missingness_for_split(split).model_dump()),
                splits == split,
            )
            if all_measured:
                missingness = Missingness(modality_by_site=missingness.modality_by_site)
            hidden[those] = self.hide(
                values[those], observed[those], rows[those], self.config.seed, missingness
            )
        observed = observed & ~hidden
        return Windows(torch.from_numpy(np.where(observed, values, 0)), torch.from_numpy(observed))

    def to_device(self, *tensors: torch.Tensor) -> list[torch.Tensor]:
        return [t.to(self.device) for t in tensors]
