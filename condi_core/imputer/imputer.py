"""The imputer as a whole: closed-form reference, refined mean, conditional diffusion of what remains.

A hidden sample is modelled as mean + deviation · r. The encoder gives both in one pass: the mean as the
closed-form estimate, moved towards simpler references where those do better, and a correction. A diffusion,
conditioned on the encoder's tokens, gives residuals r that hang together in time and across modalities.
Observed samples are returned bit for bit.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from condi_core.config import ImputerConfig
from condi_core.embeddings import CrossModalEmbedding
from condi_core.imputer.closed_form import NUM_ESTIMATES, ClosedFormEstimates
from condi_core.imputer.denoiser import Denoiser, Encoder
from condi_core.imputer.diffusion import EulerSampler, add_noise, cpu_randn, velocity
from condi_core.windows import Schema, Standardiser, zero_unobserved

TOKEN_SAMPLES = 16  # of the fastest modality in a token, about, where the settings leave it open
MEAN_STEP_SCALE = (
    0.1  # of a change of the mean: a step moves it by a tenth, and estimates are better than that
)
DENOISER_BATCH = 16  # windows in one pass of the denoiser on a CPU, about what its caches hold


def median_over_draws(draws: Tensor) -> Tensor:
    """Median over the leading axis; `Tensor.median` takes the lower of two middle values, which is biased."""
    return draws.quantile(0.5, dim=0)


class ConditionedBatch(NamedTuple):
    """Windows in standardised units with their references; made once, used for many training steps."""

    x: Tensor  # truth where `seen` or `target`, else 0; (batch, modality, patch, sample)
    seen: Tensor  # what the model may look at
    target: Tensor  # what it is asked for: observed by the site, but hidden from the model
    reference: Tensor  # (batch, modality, patch, reference, sample)


# One for a batch, or one for each of its windows, which then draws the same in any batch.
Random = torch.Generator | Sequence[torch.Generator] | None


class Completion(NamedTuple):
    """`point` (batch, modality, patch, sample) in source units; `samples` has a leading axis of draws."""

    point: Tensor
    samples: Tensor


class Imputer(nn.Module):
    """Conditional diffusion model of a window's hidden samples (phase 1)."""

    def __init__(self, schema: Schema, config: ImputerConfig) -> None:
        super().__init__()
        m = len(schema.modalities)
        self.sampler = EulerSampler(config.sampling_steps)
        self.standardiser = Standardiser(m)
        self.references = ClosedFormEstimates(schema)
        self.cross_modal = CrossModalEmbedding(m, config.pair_width)
        self.span = config.token_patches or max(1, min(8, round(TOKEN_SAMPLES / schema.samples)))
        self.encoder = Encoder(
            schema, 2 + NUM_ESTIMATES, 2 + NUM_ESTIMATES, config.width, config.heads, config.blocks,
            config.pair_width, self.span,
        )  # fmt: skip
        self.denoiser = Denoiser(schema, config.width, config.heads, config.pair_width, self.span)
        rates = torch.tensor([float(modality.samples_per_patch) for modality in schema.modalities])
        self.register_buffer("rates", rates[:, None, None], persistent=False)

    def prepare(self, values: Tensor, seen: Tensor, target: Tensor | None = None) -> ConditionedBatch:
        """Standardise, and work out the closed-form references from what is seen (no gradient)."""
        target = torch.zeros_like(seen) if target is None else target
        # In full precision also where the network is not: the estimate hangs on small differences.
        with torch.no_grad(), torch.autocast(values.device.type, enabled=False):
            x = self.standardiser(values, seen | target)
            reference = self.references(zero_unobserved(x, seen), seen)
        return ConditionedBatch(x, seen, target, reference)

    def loss(self, batch: ConditionedBatch, generator: torch.Generator) -> Tensor:
        """Error of the mean, likelihood of the deviation and diffusion loss, over the targets."""
        tokens, mean, log_deviation = self._encode(batch)
        # A mean over all cells, not over targets: then the mean over two sites is that of their pool. A patch
        # counts the same in a slow modality as in a fast one, however many samples it has.
        weight = batch.target.float() / (self.rates * batch.target[..., 0].numel())
        error = batch.x - mean
        point = (weight * (error.abs() + error.square())).sum()
        standard = error.detach() * torch.exp(-log_deviation)
        likelihood = (weight * (log_deviation + 0.5 * standard.square().clamp(max=100))).sum()

        hidden = ~batch.seen
        noise = cpu_randn(batch.x.shape, generator, batch.x.device)
        # A sample that nobody ever measured has no residual to learn from; it stands in as noise.
        unknown = cpu_randn(batch.x.shape, generator, batch.x.device)
        residual = torch.where(batch.target, standard.detach().clamp(-8, 8), unknown)
        t = torch.rand(len(batch.x), generator=generator).to(batch.x.device)
        noisy = add_noise(residual, noise, t) * hidden
        v = self.denoiser(noisy, hidden, t, tokens, self.cross_modal, self._share(batch.seen))
        diffusion = (weight * (v - velocity(residual, noise, t)).square()).sum()
        return point + 0.1 * likelihood + 0.3 * diffusion

    @torch.no_grad()
    def impute(
        self, values: Tensor, observed: Tensor, samples: int = 0, generator: Random = None
    ) -> Completion:
        """Complete windows `(batch, modality, patch, sample)` given in source units.

        The point estimate is the encoder's mean, or the median where `samples` > 0 are drawn.
        """
        mean, drawn = self.draw(self.prepare(values, observed), samples, generator)

        def complete(x: Tensor) -> Tensor:
            return torch.where(observed, values, self.standardiser.inverse(x))

        return Completion(complete(median_over_draws(drawn) if samples else mean), complete(drawn))

    @torch.no_grad()
    def draw(self, batch: ConditionedBatch, samples: int, generator: Random = None) -> tuple[Tensor, Tensor]:
        """Mean and `samples` draws (draw, batch, modality, patch, sample), in standardised units."""
        tokens, mean, log_deviation = self._encode(batch)
        if not samples:
            return mean, mean.new_zeros((0, *mean.shape))
        return mean, mean + log_deviation.exp() * self._residuals(batch, tokens, samples, generator)

    def _residuals(self, batch: ConditionedBatch, tokens: Tensor, samples: int, generator: Random) -> Tensor:
        """`samples` draws of the standardised residual, all in one batch."""
        hidden, share = ~batch.seen, self._share(batch.seen)
        start = _noise((samples, *hidden.shape), generator, hidden.device)
        # Draws go through the network together, as many at a time as the processor likes best.
        together = samples if hidden.is_cuda else max(1, DENOISER_BATCH // len(hidden))

        def predict(x: Tensor, t: Tensor) -> Tensor:
            n = len(x) // len(hidden)
            inside = hidden.repeat(n, 1, 1, 1)
            given = tokens.repeat(n, 1, 1, 1)
            return self.denoiser(x * inside, inside, t, given, self.cross_modal, share.repeat(n, 1, 1))

        drawn = [self.sampler.sample(part.flatten(0, 1), predict) for part in start.split(together)]
        return torch.cat(drawn).unflatten(0, (samples, -1)).clamp(-8, 8)

    def _encode(self, batch: ConditionedBatch) -> tuple[Tensor, Tensor, Tensor]:
        visible = zero_unobserved(batch.x, batch.seen)
        channels = torch.cat([torch.stack([visible, batch.seen.float()], 3), batch.reference], 3)
        tokens, numbers = self.encoder(channels, self.cross_modal, self._share(batch.seen))
        log_deviation, correction, towards = numbers.split([1, 1, NUM_ESTIMATES], 3)
        estimate, simpler = batch.reference.split([1, NUM_ESTIMATES - 1], 3)
        simpler = torch.cat([simpler, torch.zeros_like(estimate)], 3)  # the last is the modality's mean
        pull = torch.tanh(MEAN_STEP_SCALE * towards) * (simpler - estimate)
        mean = estimate + MEAN_STEP_SCALE * correction + pull.sum(3, keepdim=True)
        return tokens, mean.squeeze(3), (log_deviation.squeeze(3) - 1.5).clamp(-6, 3)

    def _share(self, seen: Tensor) -> Tensor:
        """Observed fraction of every token `(batch, modality, token)`."""
        share, beyond = seen.float().sum(-1) / self.rates[..., 0], -seen.shape[2] % self.span
        total = F.pad(share, (0, beyond)).unflatten(2, (-1, self.span)).sum(-1)
        patches = torch.full((total.shape[2],), float(self.span), device=total.device)
        patches[-1] -= beyond
        return total / patches


def _noise(shape: tuple[int, ...], generator: Random, device: torch.device) -> Tensor:
    """Unit normal `(draw, batch, ...)`."""
    if not isinstance(generator, Sequence):
        return cpu_randn(shape, generator, device)
    return torch.stack([cpu_randn((shape[0], *shape[2:]), g, device) for g in generator], 1)
