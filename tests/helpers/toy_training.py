"""Toy imputers in training: steps of EM, and of local training on fresh missingness."""

import torch

from condi_core.imputer.imputer import ConditionedBatch, Imputer
from condi_core.training import train_steps
from tests.helpers.toy import imputer_config


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def missingness(shape, kind: int, random: torch.Generator) -> torch.Tensor:
    """Points, gaps of five patches, or one modality of each window."""
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


def estimate_cross_spectra(model: Imputer, values, observed, rounds: int = 3) -> None:
    """Steps of EM, the way sites take them together."""
    x, random = model.standardiser(values, observed), generator(3)
    for _ in range(rounds):
        for statistics in list(model.closed_form.sufficient_statistics(x, observed, False, random)):
            spectrum = model.closed_form.get_submodule(statistics.name).spectrum
            spectrum.copy_(statistics.spectra / statistics.counts[:, :, None, None])


def train(model: Imputer, values, observed, steps: int, rate: float = 0.005) -> list[float]:
    """Local training on fresh points, gaps and absent modalities; the loss of each step."""
    losses, random = [], generator(5)

    def batches():
        for step in range(steps):
            picked = torch.randint(len(values), (16,), generator=random)
            x, o = values[picked], observed[picked]
            yield model.prepare(
                x, conditioning := o & ~missingness(o.shape, step % 3, random), o & ~conditioning
            )

    def loss(batch):
        value = model.loss(batch, random)
        losses.append(value.item())
        return value

    train_steps(model, loss, batches(), imputer_config(), rate)
    return losses


def same_references(batch: ConditionedBatch, other: ConditionedBatch) -> bool:
    """Whether the closed-form estimates of two batches are equal to the bit."""
    return all(torch.equal(a, b) for a, b in zip(batch.references, other.references, strict=True))


def same_batch(batch: ConditionedBatch, other: ConditionedBatch) -> bool:
    """Whether two batches are equal to the bit."""
    fields = ("x", "conditioning", "target")
    equal = all(torch.equal(getattr(batch, name), getattr(other, name)) for name in fields)
    return equal and same_references(batch, other)
