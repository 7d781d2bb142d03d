"""Toy schemas, settings and signals for the tests of condi_core."""

import math

import torch
from torch import Tensor, nn

from condi_core.config import ImputerConfig, RunConfig, TaskConfig
from condi_core.imputer.cross_spectrum import CrossSpectrum
from condi_core.windows import Schema
from tests.helpers.run_settings import flat_defaults

MEANS = torch.tensor([1000.0, -37.4, 0.003, 7.0])
STDS = torch.tensor([250.0, 0.7, 0.0004, 1.3])
SMALL = {"width": 16, "heads": 2, "blocks": 1, "pair-width": 4, "batch": 8}


def settings(**changes) -> RunConfig:
    """Return the default settings with small networks and `changes`, written `imputer__batch=4`."""
    small = {f"{phase}.{key}": value for phase in ("imputer", "task") for key, value in SMALL.items()}
    wanted = {key.replace("__", ".").replace("_", "-"): value for key, value in changes.items()}
    return RunConfig.from_flat(flat_defaults() | small | wanted)


def imputer_config(**changes) -> ImputerConfig:
    return settings(**{f"imputer__{k}": v for k, v in changes.items()}).imputer


def task_config(**changes) -> TaskConfig:
    return settings(**{f"task__{k}": v for k, v in changes.items()}).task


def schema(rates=(5, 5, 5, 5), patches=12, labels=3, task="multi-label") -> Schema:
    return Schema(
        dataset="toy",
        modalities=tuple(
            Schema.Modality(name=f"m{i}", unit="u", samples_per_patch=r) for i, r in enumerate(rates)
        ),
        patch_seconds=1.0,
        patches=patches,
        labels=tuple(f"l{i}" for i in range(labels)),
        task=task,
    )


def is_sample(of: Schema) -> Tensor:
    """Return where `(modality, patch, sample)` is a sample of the modality, and not padding."""
    rates = torch.tensor([m.samples_per_patch for m in of.modalities])
    return (torch.arange(of.samples) < rates[:, None, None]).expand(of.shape)


def process(windows: int, modalities: int, time: int, generator: torch.Generator) -> Tensor:
    """Generate standardised slow oscillations: modality 0 drives the others, each a little later."""
    start = 2 * math.pi * torch.rand(windows, 1, generator=generator)
    speed = 0.35 + 0.15 * torch.rand(windows, 1, generator=generator)
    t = torch.arange(time)
    parts = []
    for m in range(modalities):
        noise = torch.randn(windows, time, generator=generator)
        parts.append(math.sqrt(2) * torch.sin(start + speed * (t - m)) + 0.1 * noise)
    return torch.stack(parts, 1) / math.sqrt(1.01)


def windows(of: Schema, count: int, seed: int = 0, share: float = 0.6) -> tuple[Tensor, Tensor]:
    """Generate windows in unusual units, with `share` of their samples observed and zeros elsewhere."""
    generator = torch.Generator().manual_seed(seed)
    m, p, s = of.shape
    x = process(count, m, p * s, generator).view(count, m, p, s)
    values = x * STDS[:m, None, None] + MEANS[:m, None, None]
    observed = (torch.rand(x.shape, generator=generator) < share) & is_sample(of)
    return torch.where(observed, values, 0.0), observed


def standardise(model: nn.Module, values: Tensor, observed: Tensor) -> None:
    """Fit the standardiser of a model to windows."""
    model.standardiser.fit(model.standardiser.sums(values, observed))


def perturb(model: nn.Module, by: float = 0.2, seed: int = 1) -> nn.Module:
    """Move every parameter a little, so that nothing in the model is zero."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter += by * torch.randn(parameter.shape, generator=generator)
    return model


def corrupt(values: Tensor, where: Tensor) -> list[Tensor]:
    """Return copies of `values` with other, huge, NaN and infinite numbers `where` they must not matter."""
    return [torch.where(where, bad, values) for bad in (3.0, 1e6, -1e30, math.nan, math.inf)]


def ar_process(count: int, time: int, coefficients: Tensor, mixing: Tensor, generator) -> Tensor:
    """Generate windows of the stationary x_t = A x_(t-1) + B e_t, `(window, modality, time)`."""
    x = torch.zeros(count, len(coefficients))
    out = []
    for step in range(time + 100):
        x = x @ coefficients.T + torch.randn(count, mixing.shape[1], generator=generator) @ mixing.T
        if step >= 100:
            out.append(x)
    return torch.stack(out, -1)


def related_windows(modalities: int, time: int, seed: int = 0) -> tuple[CrossSpectrum, Tensor]:
    """Return a cross-spectrum with lags, estimated from windows of a process, and some of the windows."""
    generator = torch.Generator().manual_seed(seed)
    a = 0.6 * torch.eye(modalities) + 0.3 * torch.diag(torch.ones(modalities - 1), 1)
    b = torch.randn(modalities, modalities, generator=generator) / modalities**0.5
    x = ar_process(200, time, a, b, generator)
    x = x / x.std((0, 2), keepdim=True)
    cross_spectrum = CrossSpectrum(range(modalities), time)
    cross_spectrum.spectrum.copy_(cross_spectrum.sum_periodograms(x) / len(x))
    return cross_spectrum, x[:5]


def run_em(cross_spectrum, x: Tensor, observed: Tensor, rounds: int, generator: torch.Generator) -> None:
    """Estimate the cross-spectrum from incomplete standardised windows, as sites do together."""
    from condi_core.imputer.gaussian_process import conditional_mean

    for _ in range(rounds):
        draw = conditional_mean(torch.where(observed, x, 0.0), observed, cross_spectrum, generator=generator)
        completed = torch.where(observed, x, draw)
        cross_spectrum.spectrum.copy_(cross_spectrum.sum_periodograms(completed) / len(x))
