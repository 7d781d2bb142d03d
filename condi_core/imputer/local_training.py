"""Training and standardising of the imputer on the windows of one site, which `WindowSource` describes."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any, Protocol

import numpy as np
import torch

from condi_core.imputer.conditioned_batch import ConditionedBatch
from condi_core.imputer.imputer import DiffusionImputer
from condi_core.missingness import Missingness, sample_training_missingness
from condi_core.phase_config import ImputerConfig
from condi_core.training import train_steps
from condi_core.windows import WINDOWS_PER_BLOCK, Schema, Standardiser, Windows, iterate_blocks

WINDOWS_PER_GPU_BLOCK = 128  # on a GPU, fewer windows take as long to prepare
EPOCHS_PER_PREPARATION = 4  # training steps on a window, each on another crop, before its masks are redrawn


class WindowSource(Protocol):
    """Windows of one site by row: a site of a federation, or arrays in memory."""

    @property
    def name(self) -> str:
        """Name of the site, on which random streams depend."""

    @property
    def schema(self) -> Schema:
        """What the windows are."""

    @property
    def device(self) -> torch.device:
        """Where the site computes."""

    def read(self, rows: np.ndarray, all_measured: bool = False) -> Windows:
        """Read windows as training may use them, or all that was measured."""

    def missingness_masks(
        self, values: np.ndarray, observed: np.ndarray, rows: np.ndarray, seed: int, missingness: Missingness
    ) -> np.ndarray:
        """Return masks of the samples to hide, bool (window, modality, patch, sample)."""


def compute_standardising_sums(source: WindowSource, rows: np.ndarray) -> np.ndarray:
    """Compute count, sum and sum of squares (modality, 3) of samples, for standardisation."""
    total = np.zeros((len(source.schema.modalities), 3))
    for block in iterate_blocks(rows):
        total += Standardiser.sums(*source.read(block)).numpy()
    return total


def train_imputer(
    source: WindowSource,
    rows: np.ndarray,
    imputer: DiffusionImputer,
    config: ImputerConfig,
    seed: int,
    learning_rate: float,
    deadline: float = math.inf,
) -> dict[str, Any]:
    """Take local steps on the diffusion loss, with missingness simulated in what the site observed.

    Parameters
    ----------
    source : of the windows
    rows : int (window,), the windows for training
    imputer : trained in place
    config : settings of phase 1
    seed : of windows, masks, crops and noise
    learning_rate : of all steps
    deadline : when to stop, on the monotonic clock

    Returns
    -------
    dict
        `loss` (mean), `steps`, `windows` of the site, and which modalities each window that was used had:
        `present`, bool (window, modality).
    """
    rng = np.random.default_rng(seed)
    generator = torch.Generator().manual_seed(seed)
    num_windows = max(config.batch, -(-config.steps * config.batch // EPOCHS_PER_PREPARATION))
    epochs = -(-num_windows // len(rows))
    sampled_rows = np.concatenate([rng.permutation(rows) for _ in range(epochs)])[:num_windows]
    prepared, present = prepare_windows(source, imputer, sampled_rows, rng)

    order = np.concatenate([rng.permutation(num_windows) for _ in range(EPOCHS_PER_PREPARATION)])

    def batches() -> Iterator[ConditionedBatch]:
        for step in range(config.steps):
            windows = torch.from_numpy(order[step * config.batch : (step + 1) * config.batch])
            yield prepared.select(windows, draw_crop(source.schema, config, rng)).to(source.device)

    def loss(batch: ConditionedBatch) -> torch.Tensor:
        return imputer.loss(batch, generator)

    mean_loss, steps = train_steps(imputer, loss, batches(), config, learning_rate, deadline)
    used = np.unique(order[: steps * config.batch])
    return {"loss": mean_loss, "steps": steps, "present": present[used], "windows": len(rows)}


def draw_crop(schema: Schema, config: ImputerConfig, rng: np.random.Generator) -> slice:
    """Draw the range of patches that a step uses of its windows."""
    crop = config.crop or schema.patches
    start = int(rng.integers(0, max(schema.patches - crop, 0) + 1))
    return slice(start, start + crop)


def prepare_windows(
    source: WindowSource, imputer: DiffusionImputer, all_rows: np.ndarray, rng: np.random.Generator
) -> tuple[ConditionedBatch, np.ndarray]:
    """Hide samples of windows at random and compute their closed-form estimates.

    Returns the batch on the CPU, and which modalities each window has, bool (window, modality).
    """
    parts, present = [], []
    block_size = WINDOWS_PER_GPU_BLOCK if source.device.type == "cuda" else WINDOWS_PER_BLOCK
    for rows in iterate_blocks(all_rows, block_size):
        values, observed = source.read(rows)
        masks = []
        for i, row in enumerate(rows):
            window = slice(i, i + 1)
            seed, missingness = int(rng.integers(2**62)), sample_training_missingness(rng)
            hidden = source.missingness_masks(
                values[window].numpy(), observed[window].numpy(), row[None], seed, missingness
            )
            masks.append(hidden[0])
        conditioning = observed & ~torch.from_numpy(np.stack(masks))
        present.append(observed.flatten(2).any(-1).numpy())
        batch = imputer.prepare(
            *(tensor.to(source.device) for tensor in (values, conditioning, observed & ~conditioning))
        )
        parts.append(batch.to("cpu"))
    return ConditionedBatch.concatenate(parts), np.concatenate(present)
