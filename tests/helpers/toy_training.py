"""Train toy imputers: steps of EM, and steps of local training with new missingness at each step."""

import torch

from condi_core.imputer.conditioned_batch import ConditionedBatch
from condi_core.imputer.imputer import DiffusionImputer
from condi_core.training import train_steps
from tests.helpers.toy import imputer_config


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def missingness(shape, kind: int, random: torch.Generator) -> torch.Tensor:
    """Hide points (kind 0), a gap of five patches (1) or one modality (2) of each window."""
    if kind == 0:
        return torch.rand(shape, generator=random) < 0.5
    hidden = torch.zeros(shape, dtype=torch.bool)
    for b in range(shape[0]):
        m = int(torch.randint(shape[1], (1,), generator=random))
        start = int(torch.randint(shape[2] - 4, (1,), generator=random))
        hidden[b, m, start : start + 5 if kind == 1 else None] = True
        if kind == 2:
            hidden[b, m] = True
    return hidden


def estimate_cross_spectra(model: DiffusionImputer, values, observed, rounds: int = 3) -> None:
    """Take steps of EM, as sites do together."""
    x, random = model.standardiser(values, observed), generator(3)
    for _ in range(rounds):
        for statistics in list(model.closed_form.sufficient_statistics(x, observed, False, random)):
            spectrum = model.closed_form.get_submodule(statistics.name).spectrum
            spectrum.copy_(statistics.spectra / statistics.counts[:, :, None, None])


def train(model: DiffusionImputer, values, observed, steps: int, rate: float = 0.005) -> list[float]:
    """Train locally with points, gaps and modalities missing in turn, and return the loss of each step."""
    losses, random = [], generator(5)

    def batches():
        for step in range(steps):
            rows = torch.randint(len(values), (16,), generator=random)
            x, o = values[rows], observed[rows]
            conditioning = o & ~missingness(o.shape, step % 3, random)
            yield model.prepare(x, conditioning, o & ~conditioning)

    def loss(batch):
        value = model.loss(batch, random)
        losses.append(value.item())
        return value

    train_steps(model, loss, batches(), imputer_config(), rate)
    return losses


def same_references(batch: ConditionedBatch, other: ConditionedBatch) -> bool:
    """Return whether the closed-form estimates of two batches are equal to the bit."""
    return all(torch.equal(a, b) for a, b in zip(batch.references, other.references, strict=True))


def same_batch(batch: ConditionedBatch, other: ConditionedBatch) -> bool:
    """Return whether two batches are equal to the bit."""
    fields = ("x", "conditioning", "target")
    equal = all(torch.equal(getattr(batch, name), getattr(other, name)) for name in fields)
    return equal and same_references(batch, other)
