"""A site's part of phase 1: its share of the cross-spectrum, and training and scoring of the imputer."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import torch

from client_app.node.patients import Patients, public_presence
from client_app.node.replicates import draw_deviations
from client_app.node.site import Site
from condi_core.imputer import local_training
from condi_core.imputer.conditioned_batch import ConditionedBatch
from condi_core.imputer.diffusion import DiffusionNoise
from condi_core.imputer.imputer import DiffusionImputer
from condi_core.imputer.scoring import score_imputer
from condi_core.privacy.gradients import train_steps_privately
from data_partitions.manifest import Split


def compute_standardising_sums(site: Site) -> np.ndarray:
    """Compute count, sum and sum of squares `(modality, 3)` of training samples, for standardisation."""
    return local_training.compute_standardising_sums(site, site.partition.rows("train"))


def train(
    site: Site, imputer: DiffusionImputer, seed: int, learning_rate: float, deadline: float
) -> dict[str, Any]:
    """Take the local steps of a round on the site's training windows; see `train_imputer`.

    With `privacy.patient-epsilon`, steps sample patients and have noise, and neither depends on the seed.
    """
    if site.config.privacy.patient_epsilon:
        return _train_privately(site, imputer, learning_rate, deadline)
    rows, config = site.partition.rows("train"), site.config.imputer
    return local_training.train_imputer(site, rows, imputer, config, seed, learning_rate, deadline)


def _train_privately(
    site: Site, imputer: DiffusionImputer, learning_rate: float, deadline: float
) -> dict[str, Any]:
    """Take the steps of `train` by DP-SGD per patient; losses and which windows were used are withheld."""
    config, rows = site.config.imputer, site.partition.rows("train")
    patients, rng = Patients(site, rows), np.random.default_rng()
    samples, chosen_rows = patients.sample_steps(config.batch, config.steps), patients.choose_rows()
    used = np.unique(np.concatenate(samples))
    prepared = local_training.prepare_windows(site, imputer, chosen_rows[used], rng)[0] if len(used) else None

    def batches() -> Iterator[tuple[ConditionedBatch, DiffusionNoise] | None]:
        for sampled in samples:
            if not len(sampled) or prepared is None:
                yield None
                continue
            windows = torch.from_numpy(np.searchsorted(used, sampled))
            crop = local_training.draw_crop(site.schema, config, rng)
            batch = prepared.select(windows, crop).to(site.device)
            yield batch, DiffusionNoise.draw(batch.x, None)

    def loss(batch: tuple[ConditionedBatch, DiffusionNoise]) -> torch.Tensor:
        return imputer.loss_given_noise(*batch)

    privacy = patients.spend_on_steps("imputer", config.batch, config.steps)
    steps = train_steps_privately(imputer, loss, batches(), config, learning_rate, privacy, deadline)
    return {"loss": 0.0, "steps": steps, "present": public_presence(site), "windows": len(rows)}


def score(
    site: Site, imputer: DiffusionImputer, split: Split, samples: int, with_replicates: bool = False
) -> dict[str, np.ndarray]:
    """Score the imputer and the naive baselines; see `score_imputer`.

    Validation, which selects the best round, uses only samples that the run's missingness does not hide; the
    test is scored on everything that the source measured. The model is trained on neither.
    """
    rows, seed = site.scorable_rows(split), site.config.seed
    deviations = draw_deviations(site, rows) if with_replicates else None
    return score_imputer(site, rows, imputer, seed, samples, split == "test", deviations)
