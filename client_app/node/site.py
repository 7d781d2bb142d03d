"""The site that a message is about: its partition and device, and the samples that the run may use."""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import torch
from flwr.app import Context

from client_app.node.completion_cache import read_fingerprint
from client_app.node.masks import MaskStore, unpack_masks
from client_app.node.site_policy import NO_POLICY, SitePolicy
from condi_core.config import RunConfig
from condi_core.evaluation.subgroups import subgroups
from condi_core.missingness import Missingness, missingness_masks
from condi_core.protocol import POOLED_SITE
from condi_core.windows import Schema, Windows
from data_partitions import DataError
from data_partitions.federation import open_federation
from data_partitions.manifest import SPLITS, Split
from data_partitions.partition import Partition
from data_partitions.pool import Pool
from data_partitions.window_store import WindowStore, labelled_rows

_observed_masks = MaskStore()  # a node's process serves many requests about the same windows


def find_partitions(context: Context, federation: str) -> dict[str, Path]:
    """Find the folders of the partitions behind this node, by name of the site.

    A hospital's node names its one partition in the node config (`data`). A virtual node of a simulation
    has a number instead, and serves every n-th site of the run's federation, so that any number of nodes
    serves any number of sites.
    """
    node = context.node_config
    if "data" in node:
        path = Path(str(node["data"]))
        if not path.is_absolute():
            raise DataError(f"the node config's data must be an absolute path, got '{path}'")
        return {Partition.open(path, check=False).manifest.site: path}
    if not is_virtual(context):
        raise DataError(
            "this node's config names no data: start the node with --node-config 'data=\"/its/folder\"'"
        )
    sites = open_federation(federation)
    names = sites.sites[int(node["partition-id"]) :: int(node["num-partitions"])]
    return {name: sites.path / name for name in names}


def pool_sites(federation: str, config: RunConfig) -> tuple[Pool, RunConfig]:
    """Pool the sites of a simulation that train; a step has as many windows as those of all sampled sites."""
    sites = open_federation(federation)
    names = config.named_sites or sites.sites
    parts = [sites.open_site(name, check=False) for name in sorted(names)]
    pool = Pool(tuple(part for part in parts if part.manifest.windows["train"]), POOLED_SITE)
    sampled_sites = max(1, round(config.sites_per_round * len(pool.parts)))
    larger_batches = {
        phase: part.model_copy(update={"batch": part.batch * sampled_sites})
        for phase, part in (("imputer", config.imputer), ("task", config.task))
    }
    return pool, config.model_copy(update=larger_batches)


def is_virtual(context: Context) -> bool:
    """Whether this is a node of a simulation, whose config has its number and no data."""
    return "partition-id" in context.node_config and "data" not in context.node_config


@dataclass(frozen=True)
class Site:
    """One site in one run.

    Parameters
    ----------
    name : str
        Name of the site in the roster.
    partition : WindowStore
        Its windows, or the pool of all sites of a simulation.
    config : RunConfig
        Settings of the run.
    device : torch.device
        Where the site computes.
    cache : Path
        Folder in which completed windows are stored.
    policy : SitePolicy
        Policy of the hospital.
    audit : Path, optional
        Audit log of the hospital; None in a simulation.
    """

    name: str
    partition: WindowStore
    config: RunConfig
    device: torch.device
    cache: Path
    policy: SitePolicy = NO_POLICY
    audit: Path | None = None

    @property
    def schema(self) -> Schema:
        return Schema.model_validate(self.partition.manifest.schema_fields())

    @cached_property
    def fingerprint(self) -> str:
        """Hash of the partition's data; files are read when they have changed."""
        return read_fingerprint(self.partition, self.cache)

    def may_disclose(self, split: Split) -> bool:
        """Whether counts and scores of a split may be disclosed under `privacy.smallest-count`.

        They may not if the split has fewer patients, or some label has fewer patients with or without it, or
        fewer patients have or lack labels, unless that number is 0. The whole split is then withheld, as its
        other counts and the total would reveal this one.
        """
        rows, labelled = self.partition.rows(split), labelled_rows(self.partition, split)
        return self.are_large_enough([rows, np.setdiff1d(rows, labelled), *self._label_groups(labelled)])

    def _label_groups(self, rows: np.ndarray) -> list[np.ndarray]:
        """Return the rows of all groups that counts and sums distinguish among labelled rows."""
        return [
            rows,
            *(rows[group] for group in self.schema.task_kind.label_groups(self.partition.labels[rows])),
        ]

    def are_large_enough(self, groups: list[np.ndarray]) -> bool:
        """Whether each group of rows has no patient, or at least `privacy.smallest-count`."""
        sizes = [len(np.unique(self.partition.patient_ids[rows])) for rows in groups]
        return not any(0 < size < self.config.privacy.smallest_count for size in sizes)

    def count_patients(self, split: Split) -> int:
        """Count the patients of a split."""
        return len(np.unique(self.partition.patient_ids[self.partition.rows(split)]))

    def labelled_rows(self, split: Split) -> np.ndarray:
        """Rows of a split that phase 2 uses: those with labels.

        There are none where fewer patients than `privacy.smallest-count` have labels for training.
        """
        training = labelled_rows(self.partition, "train")
        return labelled_rows(self.partition, split)[: None if self.are_large_enough([training]) else 0]

    def may_disclose_subgroups(self, covariate: int, rows: np.ndarray) -> bool:
        """Whether scores of labelled rows may be disclosed for each subgroup of a covariate.

        As in `may_disclose`, one subgroup that is too small withholds all of them.
        """
        if not self.policy.allows_covariate(self.schema.covariates[covariate].name):
            return False
        values = self.partition.covariates[rows]
        members = [g.contains(values) for g in subgroups(self.schema) if g.covariate == covariate]
        return self.are_large_enough([rs for m in members for rs in self._label_groups(rows[m])])

    def scorable_rows(self, split: Split) -> np.ndarray:
        """Rows of a split whose scores may be disclosed: all or none."""
        rows = self.partition.rows(split)
        return rows if self.may_disclose(split) else rows[:0]

    def scorable_labelled_rows(self, split: Split) -> np.ndarray:
        """Rows of a split with labels whose scores may be disclosed: all or none."""
        rows = self.labelled_rows(split)
        return rows if self.may_disclose(split) else rows[:0]

    def missingness_masks(
        self, values: np.ndarray, observed: np.ndarray, rows: np.ndarray, seed: int, missingness: Missingness
    ) -> np.ndarray:
        """Return masks of the samples to hide among `observed`, fixed by `seed`, record id and site.

        Parameters
        ----------
        values, observed : ndarray, shape (window, modality, patch, sample)
            What was measured; values matter where the missingness depends on them.
        rows : ndarray of int, shape (window,)
            Rows of the windows in the partition.
        seed : int
        missingness : Missingness

        Returns
        -------
        ndarray of bool, shape (window, modality, patch, sample)
            True where a sample is hidden.
        """
        return missingness_masks(self.partition, rows, values, observed, missingness, seed)

    def missingness(self, split: Split) -> Missingness:
        """Return what the run hides from windows of a split."""
        return Missingness.for_split(split, dict(self.config.missingness), self.config.test_overrides)

    def read(self, rows: np.ndarray, all_measured: bool = False) -> Windows:
        """Read windows as the run uses them; samples that it hides are zero and not observed.

        Each window has the missingness of its split, whichever rows are read together.

        Parameters
        ----------
        rows : ndarray of int, shape (window,)
            Rows of the partition.
        all_measured : bool
            Hide only the modalities that the run hides at this site altogether.
        """
        values, observed = self.partition.read(rows)
        if all_measured or not len(rows):
            observed = self._hide_samples(values, observed, rows, all_measured)
        else:

            def make(i: np.ndarray) -> np.ndarray:
                return self._hide_samples(values[i], observed[i], rows[i], False)

            packed = _observed_masks.get_or_make(self.mask_key, rows, make)
            observed = unpack_masks(packed, self.partition.manifest.shape)
        return Windows(torch.from_numpy(np.where(observed, values, 0)), torch.from_numpy(observed))

    @cached_property
    def mask_key(self) -> str:
        """Text that differs where the data or what the run hides of them differs."""
        missingness = [dict(self.missingness(split)) for split in SPLITS]
        return json.dumps([self.fingerprint, self.config.seed, missingness])

    def _hide_samples(
        self, values: np.ndarray, observed: np.ndarray, rows: np.ndarray, all_measured: bool
    ) -> np.ndarray:
        """Return `observed` without the samples that the missingness of each window's split hides."""
        splits = self.partition.splits[rows]
        hidden = np.zeros_like(observed)
        for split in np.unique(splits):
            missingness = self.missingness(split)
            if all_measured:
                missingness = missingness.of_site()
            of_split = splits == split
            hidden[of_split] = self.missingness_masks(
                values[of_split], observed[of_split], rows[of_split], self.config.seed, missingness
            )
        return observed & ~hidden

    def to_device(self, *tensors: torch.Tensor) -> list[torch.Tensor]:
        """Move tensors to the site's device."""
        return [t.to(self.device) for t in tensors]
