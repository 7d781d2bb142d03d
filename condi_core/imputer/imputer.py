"""The imputer: closed-form estimates, a refined median, and a conditional diffusion of normal scores.

The encoder predicts the distribution of every missing sample in one pass. Its median is the closed-form
conditional mean, moved towards baselines where those do better, plus a correction in units of the sample's
own deviation. Baselines are simpler estimates, the neighbours in time, and what other modalities determine.
A diffusion conditioned on the encoder's tokens draws normal scores, which relate the samples in time and
across modalities. Observed samples are returned bit for bit.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from condi_core.config import ImputerConfig
from condi_core.embeddings import CrossModalEmbedding
from condi_core.imputer.closed_form import ClosedFormEstimates, References
from condi_core.imputer.conditioned_batch import ConditionedBatch
from condi_core.imputer.denoiser import Denoiser, Encoder
from condi_core.imputer.diffusion import DiffusionNoise, EulerSampler, add_noise, cpu_randn, velocity
from condi_core.imputer.instant_relation import RELATION_CHANNELS, InstantRelation, RelationPrediction
from condi_core.imputer.marginal import MARGINAL_OUTPUTS, MAX_SCORE, Marginal, spread_evenly
from condi_core.imputer.neighbours import NEIGHBOUR_CHANNELS, describe_neighbours
from condi_core.quantiles import quantiles_of_draws
from condi_core.windows import Schema, Standardiser, zero_unobserved

TOKEN_SAMPLES = 16  # approximate samples of the fastest modality in a token, where the settings leave it open
MIXING_SCALE = 0.1  # scale of the mixing logits: one step of training must not spoil a good estimate
NUM_BASELINES = 7  # between which and the closed-form estimate the median is mixed
RELATION_LOSS_WEIGHT = 0.1
CORRECTION_SCALE = 0.5  # scale of the correction, in deviations: small where the estimate is exact
INPUT_BOUND = 10.0  # largest absolute input of the network, in standard deviations; estimates have no bound
DENOISER_BATCH = 16  # windows in one pass of the denoiser on a CPU, about as many as its caches hold

# One generator for a batch, or one for each window, whose draws are then the same in any batch.
Generators = torch.Generator | Sequence[torch.Generator] | None


def median_over_draws(draws: Tensor) -> Tensor:
    """Return the median over the leading axis.

    `Tensor.median` takes the lower of the two middle values, which is biased.
    """
    return quantiles_of_draws(draws, draws.new_tensor([0.5]))[0]


class Completion(NamedTuple):
    """Completed windows in source units.

    Attributes
    ----------
    point : Tensor (batch, modality, patch, sample), the single best estimate
    draws : Tensor (draw, batch, modality, patch, sample), equally likely completions
    """

    point: Tensor
    draws: Tensor


class DiffusionImputer(nn.Module):
    """Conditional diffusion model of the missing samples of a window (phase 1).

    Training hides samples that were observed and learns to predict them, as CSDI does (Tashiro et al. 2021).

    Parameters
    ----------
    schema : of the windows
    config : settings of phase 1
    """

    rates: Tensor

    def __init__(self, schema: Schema, config: ImputerConfig) -> None:
        super().__init__()
        m, num_references = len(schema.modalities), len(References._fields)
        self.sampler = EulerSampler(config.sampling_steps)
        self.standardiser = Standardiser(m)
        self.closed_form = ClosedFormEstimates(schema)
        self.cross_modal = CrossModalEmbedding(m, config.pair_width)
        self.span = config.token_patches or max(1, min(8, round(TOKEN_SAMPLES / schema.samples)))
        self.encoder = Encoder(
            schema,
            channels=2 + num_references + NEIGHBOUR_CHANNELS + RELATION_CHANNELS,  # values and mask
            outputs=MARGINAL_OUTPUTS + 1 + NUM_BASELINES,  # and correction, and a mixing logit per baseline
            width=config.width,
            heads=config.heads,
            blocks=config.blocks,
            pair_width=config.pair_width,
            span=self.span,
        )
        self.instant_relation = InstantRelation(schema.rate_groups)
        self.denoiser = Denoiser(schema, config.width, config.heads, config.pair_width, self.span)
        rates = torch.tensor([float(modality.samples_per_patch) for modality in schema.modalities])
        self.register_buffer("rates", rates[:, None, None], persistent=False)

    def prepare(self, values: Tensor, conditioning: Tensor, target: Tensor | None = None) -> ConditionedBatch:
        """Standardise windows and compute their closed-form estimates, without gradients.

        Parameters
        ----------
        values : Tensor (batch, modality, patch, sample), in source units
        conditioning : bool Tensor, what the model may look at
        target : bool Tensor, what the model is trained or scored on; None: nothing

        Returns
        -------
        ConditionedBatch
        """
        target = torch.zeros_like(conditioning) if target is None else target
        # The estimate depends on small differences: full precision even where the network runs in less.
        with torch.no_grad(), torch.autocast(values.device.type, enabled=False):
            x = self.standardiser(values, conditioning | target)
            visible = zero_unobserved(x, conditioning)
            references = self.closed_form(visible, conditioning)
            neighbours = describe_neighbours(self.closed_form.groups, visible, conditioning)
        return ConditionedBatch(x, conditioning, target, references, neighbours)

    def loss(self, batch: ConditionedBatch, generator: torch.Generator | None) -> Tensor:
        """Compute the training loss over the targets.

        It is the loss of the distributions of single samples, plus 0.3 times the diffusion loss on the
        velocity of their normal scores and 0.1 times the loss of the relation at one instant.

        Parameters
        ----------
        batch : from `prepare`, with targets
        generator : source of noise and diffusion times

        Returns
        -------
        Tensor, a scalar
        """
        return self.loss_given_noise(batch, DiffusionNoise.draw(batch.x, generator))

    def loss_given_noise(self, batch: ConditionedBatch, drawn: DiffusionNoise) -> Tensor:
        """Compute the training loss as `loss`, with noise that was drawn before."""
        tokens, marginal, relation = self._encode(batch)
        # The mean is over all cells and not over targets, so that the mean of two sites is that of their
        # pool. A patch counts the same in a slow modality as in a fast one, however many samples it has.
        weight = batch.target.float() / (self.rates * batch.target[..., 0].numel())
        marginal_loss = (weight * marginal.loss(batch.x)).sum()
        relation_loss = (weight * relation.loss(batch.x)).sum()

        missing = ~batch.conditioning
        noise, placeholder, t = drawn
        # A sample that was never measured has no score to learn from; noise takes its place.
        score = torch.where(batch.target, marginal.normal_score(batch.x).detach(), placeholder)
        noisy = add_noise(score, noise, t) * missing
        fraction = self._observed_fraction(batch.conditioning)
        v = self.denoiser(noisy, missing, t, tokens, self.cross_modal, fraction)
        diffusion_loss = (weight * (v - velocity(score, noise, t)).square()).sum()
        return marginal_loss + 0.3 * diffusion_loss + RELATION_LOSS_WEIGHT * relation_loss

    @torch.no_grad()
    def impute(
        self, values: Tensor, observed: Tensor, num_draws: int = 0, generator: Generators = None
    ) -> Completion:
        """Complete windows.

        Parameters
        ----------
        values, observed : Tensor (batch, modality, patch, sample), in source units
        num_draws : number of draws; 0: only the point estimate
        generator : source of the draws, one for the batch or one for each window

        Returns
        -------
        Completion, whose point estimate is the encoder's median, or that of the draws if there are any
        """
        median, draws = self.sample(self.prepare(values, observed), num_draws, generator)

        def complete(x: Tensor) -> Tensor:
            return torch.where(observed, values, self.standardiser.inverse(x))

        return Completion(complete(median_over_draws(draws) if num_draws else median), complete(draws))

    @torch.no_grad()
    def sample(
        self, batch: ConditionedBatch, num_draws: int, generator: Generators = None
    ) -> tuple[Tensor, Tensor]:
        """Compute the median of every sample, and draw from the conditional distribution.

        Parameters
        ----------
        batch : from `prepare`
        num_draws : number of draws; 0: only the median
        generator : source of the draws, one for the batch or one for each window

        Returns
        -------
        median : Tensor (batch, modality, patch, sample), standardised
        draws : Tensor (draw, batch, modality, patch, sample), standardised
        """
        tokens, marginal, _ = self._encode(batch)
        if not num_draws:
            return marginal.median, marginal.median.new_zeros((0, *marginal.median.shape))
        scores = self._sample_scores(batch, tokens, num_draws, generator)
        return marginal.median, marginal.quantile(spread_evenly(scores))

    def _sample_scores(
        self, batch: ConditionedBatch, tokens: Tensor, num_draws: int, generator: Generators
    ) -> Tensor:
        """Draw normal scores (draw, batch, modality, patch, sample)."""
        missing, fraction = ~batch.conditioning, self._observed_fraction(batch.conditioning)
        start = _initial_noise((num_draws, *missing.shape), generator, missing.device)
        # Draws go through the network together, as many at a time as suit the processor.
        draws_per_pass = num_draws if missing.is_cuda else max(1, DENOISER_BATCH // len(missing))

        def predict(x: Tensor, t: Tensor) -> Tensor:
            n = len(x) // len(missing)
            mask = missing.repeat(n, 1, 1, 1)
            return self.denoiser(
                x * mask, mask, t, tokens.repeat(n, 1, 1, 1), self.cross_modal, fraction.repeat(n, 1, 1)
            )

        scores = [self.sampler.sample(part.flatten(0, 1), predict) for part in start.split(draws_per_pass)]
        return torch.cat(scores).unflatten(0, (num_draws, -1)).clamp(-MAX_SCORE, MAX_SCORE)

    def _encode(self, batch: ConditionedBatch) -> tuple[Tensor, Marginal, RelationPrediction]:
        """Return the encoder's tokens, the distribution of every sample, and what the relation predicts."""
        references, visible = batch.references, zero_unobserved(batch.x, batch.conditioning)
        channels = torch.stack([visible, batch.conditioning.float(), *references], 3)
        estimate = references.conditional_mean
        # Exact relations need full precision even where the network runs in less.
        with torch.autocast(estimate.device.type, enabled=False):
            relation = self.instant_relation(
                visible, batch.conditioning, estimate, self.closed_form.covariances()
            )
        channels = torch.cat([channels, batch.neighbours, relation.channels], 3)
        channels = channels.clamp(-INPUT_BOUND, INPUT_BOUND)
        fraction = self._observed_fraction(batch.conditioning)
        tokens, outputs = self.encoder(channels, self.cross_modal, fraction)
        shape, correction, mixing_logits = (
            outputs.float().movedim(3, 0).split([MARGINAL_OUTPUTS, 1, NUM_BASELINES])
        )
        deviation, tail, skew = Marginal.bound_shape(shape)
        baselines, evidence = _list_baselines(batch, relation)
        scale = MIXING_SCALE + (1 - MIXING_SCALE) * evidence
        shift = (torch.tanh(scale * mixing_logits) * (baselines - estimate)).sum(0)
        median = estimate + CORRECTION_SCALE * deviation * correction[0] + shift
        return tokens, Marginal(median, deviation, tail, skew), relation

    def _observed_fraction(self, conditioning: Tensor) -> Tensor:
        """Return the observed fraction of every token (batch, modality, token)."""
        fraction = conditioning.float().sum(-1) / self.rates[..., 0]
        beyond = -conditioning.shape[2] % self.span  # patches of the last token beyond the window
        total = F.pad(fraction, (0, beyond)).unflatten(2, (-1, self.span)).sum(-1)
        patches = torch.full((total.shape[2],), float(self.span), device=total.device)
        patches[-1] -= beyond
        return total / patches


def _list_baselines(batch: ConditionedBatch, relation: RelationPrediction) -> tuple[Tensor, Tensor]:
    """Return the baselines (baseline, batch, ...), and evidence in [0, 1] that each of them is exact."""
    instant, lines = batch.references.same_instant, batch.references.interpolation
    last, following, window_mean, are_equal = batch.neighbours[:, :, :, 2:].unbind(3)
    zero = torch.zeros_like(lines)  # as a baseline, the mean of standardised values
    baselines = [instant, lines, zero, window_mean, last, following, relation.prediction.detach()]
    evidence = [zero, zero, zero, zero, are_equal, are_equal, relation.trust]
    return torch.stack(baselines), torch.stack(evidence)


def _initial_noise(shape: tuple[int, ...], generator: Generators, device: torch.device) -> Tensor:
    """Draw standard normal noise of `shape` (draw, batch, ...)."""
    if not isinstance(generator, Sequence):
        return cpu_randn(shape, generator, device)
    return torch.stack([cpu_randn((shape[0], *shape[2:]), g, device) for g in generator], 1)
