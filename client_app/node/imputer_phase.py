"""A site's part of phase 1: the relation between its modalities, training and scoring of the imputer."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch

from client_app.node.site import Site
from condi_core.imputer.imputer import ConditionedBatch, Imputer, median_over_draws
from condi_core.metrics import ERROR_SUMS, EVALUATED_MISSINGNESS, imputation_sums_by_window, scored_keys
from condi_core.training import derive_seed, train_steps
from condi_core.windows import WINDOWS_PER_BLOCK, Standardiser, iterate_blocks, zero_unobserved
from data_partitions.missingness import Missingness, sample_training_missingness

GPU_BLOCK = 128  # windows prepared at once on a GPU, where few take as long as many
EPOCHS_PER_PREPARATION = (
    4  # training steps that look at a window, each at another crop, before its holes are redrawn
)


def standardising_sums(site: Site) -> np.ndarray:
    """Count, sum and sum of squares per modality `(modality, 3)` of what training may see."""
    total = np.zeros((len(site.schema.modalities), 3))
    for rows in iterate_blocks(site.partition.rows("train")):
        total += Standardiser.sums(*site.read(rows)).numpy()
    return total


def estimate_cross_spectrum(
    site: Site, imputer: Imputer, seed: int, first: bool
) -> tuple[dict[str, np.ndarray], np.ndarray, int]:
    """What the site says of the relations: spectra by name, counts per pair to average by, its windows.

    At first covariances of samples seen together, from then on one step of EM: the mean
    cross-periodogram of windows completed by draws.
    """
    generator = torch.Generator().manual_seed(seed)
    closed_form, rows = imputer.closed_form, site.partition.rows("train")
    totals: dict[str, torch.Tensor] = {}
    counts = np.zeros((len(site.schema.modalities),) * 2)
    with torch.no_grad():
        for block in iterate_blocks(rows):
            values, observed = site.to_device(*site.read(block))
            x = imputer.standardiser(values, observed)
            for statistics in closed_form.sufficient_statistics(x, observed, first, generator):
                name, members = statistics.name, statistics.members
                totals[name] = totals.get(name, 0) + statistics.spectra.double()
                counts[np.ix_(members, members)] += statistics.counts.cpu().numpy()
    means = {}
    for name, total in totals.items():
        members = closed_form.get_submodule(name).members
        weight = torch.as_tensor(counts[np.ix_(members, members)]).clamp(min=1).to(total.device)
        mean = total / weight[:, :, None, None]
        means[f"closed_form.{name}.spectrum"] = mean.float().cpu().numpy()
    return means, counts, len(rows)


def train(site: Site, imputer: Imputer, seed: int, learning_rate: float, deadline: float) -> dict:
    """Local steps of the diffusion loss on holes made in what the site observed."""
    config, rng = site.config.imputer, np.random.default_rng(seed)
    generator = torch.Generator().manual_seed(seed)
    rows = site.partition.rows("train")
    wanted = max(config.batch, -(-config.steps * config.batch // EPOCHS_PER_PREPARATION))
    picked = np.concatenate([rng.permutation(rows) for _ in range(-(-wanted // len(rows)))])[:wanted]
    pool, present = _prepare(site, imputer, picked, rng)

    order = np.concatenate([rng.permutation(len(picked)) for _ in range(EPOCHS_PER_PREPARATION)])

    def batches() -> Iterator[ConditionedBatch]:
        crop = config.crop or site.schema.patches
        for step in range(config.steps):
            chosen = torch.from_numpy(order[step * config.batch : (step + 1) * config.batch])
            start = int(rng.integers(0, max(site.schema.patches - crop, 0) + 1))
            yield pool.select(chosen, slice(start, start + crop)).to(site.device)

    def loss(batch: ConditionedBatch) -> torch.Tensor:
        return imputer.loss(batch, generator)

    mean, steps = train_steps(imputer, loss, batches(), config, learning_rate, deadline)
    used = np.unique(order[: steps * config.batch])
    return {"loss": mean, "steps": steps, "present": present[used], "windows": len(rows)}


def _prepare(
    site: Site, imputer: Imputer, picked: np.ndarray, rng: np.random.Generator
) -> tuple[ConditionedBatch, np.ndarray]:
    """Windows with fresh holes and their references, on the CPU; and which modalities each has."""
    parts, present = [], []
    for rows in iterate_blocks(picked, GPU_BLOCK if site.device.type == "cuda" else WINDOWS_PER_BLOCK):
        values, observed = site.read(rows)
        seen = np.stack(
            [
                o
                & ~site.missingness_masks(
                    v[None], o[None], row[None], int(rng.integers(2**62)), sample_training_missingness(rng)
                )[0]
                for v, o, row in zip(values.numpy(), observed.numpy(), rows, strict=True)
            ]
        )
        present.append(observed.flatten(2).any(-1).numpy())
        seen = torch.from_numpy(seen)
        prepared = imputer.prepare(*site.to_device(values, seen, observed & ~seen))
        parts.append(prepared.to("cpu"))
    return ConditionedBatch.concatenate(parts), np.concatenate(present)


def score(site: Site, imputer: Imputer, split: str, samples: int) -> dict[str, np.ndarray]:
    """Error sums `(modality, 5)` per kind of holes and method, on holes that are the same in every round.

    Validation, by which the best round is chosen, sees only what the run's holes leave; the test is scored
    on all that the source did measure. Neither is ever trained on.
    """
    zero = np.zeros((len(site.schema.modalities), len(ERROR_SUMS)))
    sums = {key: zero for key in scored_keys(samples)}
    for key, _, added in error_sums_by_block(
        site, imputer, site.scorable_rows(split), samples, all_measured=split == "test"
    ):
        sums[key] = sums[key] + added.sum(0)
    return sums


def error_sums_by_block(
    site: Site, imputer: Imputer, rows: np.ndarray, samples: int, all_measured: bool
) -> Iterator[tuple[str, np.ndarray, np.ndarray]]:
    """For each kind of holes, method and block of `rows`: its key, the rows, `(window, modality, 5)` sums."""
    for kind, missingness in EVALUATED_MISSINGNESS.items():
        generator = torch.Generator().manual_seed(derive_seed(site.config.seed, kind, site.name))
        for block in iterate_blocks(rows):
            values, observed = map(np.asarray, site.read(block, all_measured))
            hidden = site.missingness_masks(
                values, observed, block, derive_seed("scored", kind), Missingness(**missingness)
            )
            tensors = map(torch.from_numpy, (values, observed & ~hidden, hidden))
            values, seen, hidden = site.to_device(*tensors)
            truth = imputer.standardiser(values, seen | hidden)
            prepared = imputer.prepare(zero_unobserved(values, seen), seen)
            mean, drawn = imputer.sample(prepared, samples, generator)
            points = {
                "mean": torch.zeros_like(truth),
                "linear": prepared.references.interpolation,
                "estimate": prepared.references.conditional_mean,
                "condi": mean,
            }
            if samples:
                points["condi, draws"] = median_over_draws(drawn)
            for method, point in points.items():
                spread = drawn if method == "condi, draws" else None
                yield f"{kind}/{method}", block, imputation_sums_by_window(truth, point, hidden, spread)
