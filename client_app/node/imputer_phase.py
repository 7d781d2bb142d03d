"""A site's part of phase 1: its share of the cross-spectrum, and training and scoring of the imputer."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import torch

from client_app.node.patients import Patients, public_presence
from client_app.node.site import Site
from condi_core.evaluation.catalogue import ERROR_SUMS, EVALUATED_MISSINGNESS, scored_keys
from condi_core.evaluation.imputation import imputation_sums_by_window
from condi_core.imputer.diffusion import DiffusionNoise
from condi_core.imputer.imputer import ConditionedBatch, DiffusionImputer, median_over_draws
from condi_core.missingness import Missingness, sample_training_missingness
from condi_core.privacy.gradients import train_steps_privately
from condi_core.training import derive_seed, train_steps
from condi_core.windows import WINDOWS_PER_BLOCK, Standardiser, iterate_blocks, zero_unobserved
from data_partitions.manifest import Split

WINDOWS_PER_GPU_BLOCK = 128  # on a GPU, fewer windows take as long to prepare
EPOCHS_PER_PREPARATION = 4  # training steps on a window, each on another crop, before its masks are redrawn


def compute_standardising_sums(site: Site) -> np.ndarray:
    """Compute count, sum and sum of squares `(modality, 3)` of training samples, for standardisation."""
    total = np.zeros((len(site.schema.modalities), 3))
    for rows in iterate_blocks(site.partition.rows("train")):
        total += Standardiser.sums(*site.read(rows)).numpy()
    return total


def estimate_cross_spectrum(
    site: Site, imputer: DiffusionImputer, seed: int, first: bool, rows: np.ndarray | None = None
) -> tuple[dict[str, np.ndarray], np.ndarray, int]:
    """Estimate the cross-spectrum of the site's training windows.

    Parameters
    ----------
    site : Site
    imputer : DiffusionImputer
        With the current cross-spectrum of all sites.
    seed : int
        Seed of the draws.
    first : bool
        In the first round, covariances of samples observed at the same instant; afterwards one step of EM:
        the mean cross-periodogram of windows completed by draws.
    rows : ndarray of int, optional
        Windows to use; all of training by default.

    Returns
    -------
    spectra : dict
        Spectra by name of the parameter.
    counts : ndarray, shape (modality, modality)
        Weights of the pairs of modalities in the average over sites.
    num_windows : int
    """
    generator = torch.Generator().manual_seed(seed)
    rows = site.partition.rows("train") if rows is None else rows
    totals: dict[str, torch.Tensor] = {}
    members: dict[str, tuple[int, ...]] = {}
    counts = np.zeros((len(site.schema.modalities),) * 2)
    with torch.no_grad():
        for block in iterate_blocks(rows):
            values, observed = site.to_device(*site.read(block))
            x = imputer.standardiser(values, observed)
            for statistics in imputer.closed_form.sufficient_statistics(x, observed, first, generator):
                name = statistics.name
                members[name] = statistics.members
                totals[name] = totals.get(name, 0) + statistics.spectra.double()
                counts[np.ix_(statistics.members, statistics.members)] += statistics.counts.cpu().numpy()
    means = {}
    for name, total in totals.items():
        pairs = np.ix_(members[name], members[name])
        weight = torch.as_tensor(counts[pairs]).clamp(min=1).to(total.device)
        mean = total / weight[:, :, None, None]
        means[f"closed_form.{name}.spectrum"] = mean.float().cpu().numpy()
    return means, counts, len(rows)


def train(
    site: Site, imputer: DiffusionImputer, seed: int, learning_rate: float, deadline: float
) -> dict[str, Any]:
    """Take local steps on the diffusion loss, with missingness simulated in what the site observed.

    With `privacy.patient-epsilon`, steps sample patients and have noise, and neither depends on the seed.

    Parameters
    ----------
    site : Site
    imputer : DiffusionImputer
        Trained in place.
    seed : int
        Seed of windows, masks, crops and noise.
    learning_rate : float
    deadline : float
        When to stop, on the monotonic clock.

    Returns
    -------
    dict
        `loss` (mean), `steps`, `windows` of the site, and which modalities each window that was used had:
        `present`, bool `(window, modality)`.
    """
    if site.config.privacy.patient_epsilon:
        return _train_privately(site, imputer, learning_rate, deadline)
    config, rng = site.config.imputer, np.random.default_rng(seed)
    generator = torch.Generator().manual_seed(seed)
    rows = site.partition.rows("train")
    num_windows = max(config.batch, -(-config.steps * config.batch // EPOCHS_PER_PREPARATION))
    epochs = -(-num_windows // len(rows))
    sampled_rows = np.concatenate([rng.permutation(rows) for _ in range(epochs)])[:num_windows]
    prepared, present = _prepare_windows(site, imputer, sampled_rows, rng)

    order = np.concatenate([rng.permutation(num_windows) for _ in range(EPOCHS_PER_PREPARATION)])

    def batches() -> Iterator[ConditionedBatch]:
        for step in range(config.steps):
            windows = torch.from_numpy(order[step * config.batch : (step + 1) * config.batch])
            yield prepared.select(windows, _crop(site, rng)).to(site.device)

    def loss(batch: ConditionedBatch) -> torch.Tensor:
        return imputer.loss(batch, generator)

    mean_loss, steps = train_steps(imputer, loss, batches(), config, learning_rate, deadline)
    used = np.unique(order[: steps * config.batch])
    return {"loss": mean_loss, "steps": steps, "present": present[used], "windows": len(rows)}


def _train_privately(
    site: Site, imputer: DiffusionImputer, learning_rate: float, deadline: float
) -> dict[str, Any]:
    """Take the steps of `train` by DP-SGD per patient; losses and which windows were used are withheld."""
    config, rows = site.config.imputer, site.partition.rows("train")
    patients, rng = Patients(site, rows), np.random.default_rng()
    samples, chosen_rows = patients.sample_steps(config.batch, config.steps), patients.choose_rows()
    used = np.unique(np.concatenate(samples))
    prepared = _prepare_windows(site, imputer, chosen_rows[used], rng)[0] if len(used) else None

    def batches() -> Iterator[tuple[ConditionedBatch, DiffusionNoise] | None]:
        for sampled in samples:
            if not len(sampled) or prepared is None:
                yield None
                continue
            windows = torch.from_numpy(np.searchsorted(used, sampled))
            batch = prepared.select(windows, _crop(site, rng)).to(site.device)
            yield batch, DiffusionNoise.draw(batch.x, None)

    def loss(batch: tuple[ConditionedBatch, DiffusionNoise]) -> torch.Tensor:
        return imputer.loss_given_noise(*batch)

    privacy = patients.spend_on_steps("imputer", config.batch, config.steps)
    steps = train_steps_privately(imputer, loss, batches(), config, learning_rate, privacy, deadline)
    return {"loss": 0.0, "steps": steps, "present": public_presence(site), "windows": len(rows)}


def _crop(site: Site, rng: np.random.Generator) -> slice:
    """Draw the range of patches that a step uses of its windows."""
    crop = site.config.imputer.crop or site.schema.patches
    start = int(rng.integers(0, max(site.schema.patches - crop, 0) + 1))
    return slice(start, start + crop)


def _prepare_windows(
    site: Site, imputer: DiffusionImputer, all_rows: np.ndarray, rng: np.random.Generator
) -> tuple[ConditionedBatch, np.ndarray]:
    """Hide samples of windows at random and compute their closed-form estimates.

    Returns the batch on the CPU, and which modalities each window has, bool `(window, modality)`.
    """
    parts, present = [], []
    block_size = WINDOWS_PER_GPU_BLOCK if site.device.type == "cuda" else WINDOWS_PER_BLOCK
    for rows in iterate_blocks(all_rows, block_size):
        values, observed = site.read(rows)
        masks = []
        for i, row in enumerate(rows):
            window = slice(i, i + 1)
            seed, missingness = int(rng.integers(2**62)), sample_training_missingness(rng)
            hidden = site.missingness_masks(
                values[window].numpy(), observed[window].numpy(), row[None], seed, missingness
            )
            masks.append(hidden[0])
        conditioning = observed & ~torch.from_numpy(np.stack(masks))
        present.append(observed.flatten(2).any(-1).numpy())
        batch = imputer.prepare(*site.to_device(values, conditioning, observed & ~conditioning))
        parts.append(batch.to("cpu"))
    return ConditionedBatch.concatenate(parts), np.concatenate(present)


def score(site: Site, imputer: DiffusionImputer, split: Split, samples: int) -> dict[str, np.ndarray]:
    """Score the imputer and the naive baselines on samples that are the same in every round.

    Validation, which selects the best round, uses only samples that the run's missingness does not hide; the
    test is scored on everything that the source measured. The model is trained on neither.

    Parameters
    ----------
    site : Site
    imputer : DiffusionImputer
    split : str
        "val" or "test".
    samples : int
        Draws per window; with 0, draws are not scored.

    Returns
    -------
    dict
        Error sums `(modality, 5)` by missingness pattern and method: `scored_keys` lists the keys.
    """
    zero = np.zeros((len(site.schema.modalities), len(ERROR_SUMS)))
    sums = {key: zero for key in scored_keys(samples)}
    for key, block_sums in error_sums_by_block(
        site, imputer, site.scorable_rows(split), samples, all_measured=split == "test"
    ):
        sums[key] = sums[key] + block_sums.sum(0)
    return sums


def error_sums_by_block(
    site: Site, imputer: DiffusionImputer, rows: np.ndarray, samples: int, all_measured: bool
) -> Iterator[tuple[str, np.ndarray]]:
    """Hide samples by each missingness pattern, complete them by each method, and sum up the errors.

    Parameters
    ----------
    site : Site
    imputer : DiffusionImputer
    rows : ndarray of int
        Rows of the partition.
    samples : int
        Draws per window.
    all_measured : bool
        Hide samples among all that were measured, and not only among those that the run does not hide.

    Yields
    ------
    key : str
        Pattern and method, one of `scored_keys`.
    sums : ndarray, shape (window, modality, 5)
        Error sums of the windows of one block.
    """
    for kind, pattern in EVALUATED_MISSINGNESS.items():
        generator = torch.Generator().manual_seed(derive_seed(site.config.seed, kind, site.name))
        for block in iterate_blocks(rows):
            windows = site.read(block, all_measured)
            masks = site.missingness_masks(
                windows.values.numpy(),
                windows.observed.numpy(),
                block,
                derive_seed("scored", kind),
                Missingness(**pattern.parameters),
            )
            target = torch.from_numpy(masks)
            values, conditioning, target = site.to_device(windows.values, windows.observed & ~target, target)
            truth = imputer.standardiser(values, conditioning | target)
            batch = imputer.prepare(zero_unobserved(values, conditioning), conditioning)
            mean, draws = imputer.sample(batch, samples, generator)
            estimates = {
                "mean": torch.zeros_like(truth),
                "linear": batch.references.interpolation,
                "estimate": batch.references.conditional_mean,
                "condi": mean,
            }
            if samples:
                estimates["condi, draws"] = median_over_draws(draws)
            for method, estimate in estimates.items():
                spread = draws if method == "condi, draws" else None
                yield f"{kind}/{method}", imputation_sums_by_window(truth, estimate, target, spread)
