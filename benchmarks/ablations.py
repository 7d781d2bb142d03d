"""Ablations of CondI's imputer, for `imputation.py --ablations`.

Patches remove the parts, so that the package needs no settings for them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from itertools import islice
from unittest.mock import patch

import numpy as np
import torch
from runs import Pool, Run, training_windows
from torch import Tensor

from condi_core.config import ImputerConfig
from condi_core.imputer import closed_form
from condi_core.imputer import imputer as imputer_module
from condi_core.imputer.conditioned_batch import ConditionedBatch
from condi_core.imputer.diffusion import EulerSampler
from condi_core.imputer.imputer import DiffusionImputer
from condi_core.imputer.instant_relation import RELATION_CHANNELS, RelationPrediction
from condi_core.imputer.marginal import TAIL_RANGE, Marginal
from condi_core.training import cosine_rate, derive_seed, train_steps

CROPS_PER_WINDOW = 2  # crops of a window before its missingness is drawn again


def ablation_patches(imputer: DiffusionImputer) -> dict[str, list]:
    """Return the patches that remove each part of an imputer."""
    blocks = [*imputer.encoder.blocks, imputer.denoiser.block]
    estimate = imputer.closed_form.forward

    def zeros(*args: Tensor) -> closed_form.References:
        return closed_form.References(*map(torch.zeros_like, estimate(*args)))

    def predict_zero(x: Tensor, *_: object) -> RelationPrediction:
        channels = x.new_zeros(*x.shape[:3], RELATION_CHANNELS, x.shape[3])
        return RelationPrediction(torch.zeros_like(x), torch.zeros_like(x), x.new_zeros(()), channels)

    bound_shape = Marginal.bound_shape

    def bound_normal_shape(outputs: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        deviation, tail, skew = bound_shape(outputs)
        return deviation, torch.full_like(tail, TAIL_RANGE[0]), torch.zeros_like(skew)

    # A velocity of 0 has no gradient, and it leaves standard normal residuals unchanged.
    no_diffusion = [
        patch.object(imputer.denoiser, "forward", lambda noisy, *_: torch.zeros_like(noisy)),
        patch.object(imputer, "sampler", EulerSampler(1)),
    ]
    return {
        "CondI": [],
        "no cross-modal attention": [
            patch.object(b.modality_attention, "forward", lambda x, bias: x) for b in blocks
        ],
        "no relation at one instant": [patch.object(imputer.instant_relation, "forward", predict_zero)],
        "no W_cond": [patch.object(imputer.cross_modal, "forward", lambda to_heads: 0.0)],
        "no estimate": [patch.object(imputer.closed_form, "forward", zeros)],
        "no record adaptation": [patch.object(closed_form, "EM_STEPS", 0)],
        "no diffusion": no_diffusion,
        "independent normal residuals": [
            *no_diffusion,
            patch.object(Marginal, "bound_shape", bound_normal_shape),
            patch.object(imputer_module, "spread_evenly", lambda scores: scores),
        ],
    }


def score_ablations(
    run: Run, windows: Pool, steps: int, score: Callable[[DiffusionImputer], dict]
) -> dict[str, dict]:
    """Train and score each ablation, all from the same weights and with the cross-spectrum of the run."""
    scores, seed = {}, run.config.seed
    for name in ablation_patches(run.imputer):
        torch.manual_seed(derive_seed(seed, "initial weights", "imputer"))
        imputer = DiffusionImputer(run.schema, run.config.imputer)
        imputer.standardiser.load_state_dict(run.imputer.standardiser.state_dict())
        imputer.closed_form.load_state_dict(run.imputer.closed_form.state_dict())
        with ExitStack() as patched:
            for change in ablation_patches(imputer)[name]:
                patched.enter_context(change)
            train(imputer, run.config.imputer, windows, steps, seed)
            scores[name] = score(imputer)
        print(f"seed {seed}: {name} trained and scored", flush=True)
    return scores


def train(imputer: DiffusionImputer, config: ImputerConfig, windows: Pool, steps: int, seed: int) -> None:
    """Train for `steps` steps over the rounds of the settings, on crops of pooled windows like a site."""
    rng, generator = np.random.default_rng(seed), torch.Generator().manual_seed(seed)

    def crops() -> Iterator[ConditionedBatch]:
        for batch in training_windows(windows, config.batch, rng):
            prepared = imputer.prepare(*batch)
            num_patches = prepared.x.shape[2]
            crop = config.crop or num_patches
            for start in rng.integers(0, max(num_patches - crop, 0) + 1, CROPS_PER_WINDOW):
                yield prepared.select(slice(None), slice(start, start + crop))

    for round_ in range(1, config.rounds + 1):
        batches = islice(crops(), max(1, steps // config.rounds))
        rate = cosine_rate(config.learning_rate, round_, config.rounds)
        train_steps(imputer, lambda batch: imputer.loss(batch, generator), batches, config, rate)
