"""Windows of processes that are not stationary: the imputer stays close to the best naive baseline."""

import math

import pytest
import torch

from condi_core.imputer.imputer import DiffusionImputer
from condi_core.imputer.interpolation import last_value
from tests.helpers.toy import imputer_config, schema, standardise
from tests.helpers.toy_training import estimate_cross_spectra, generator, train


def baseline_steps(random) -> torch.Tensor:
    """Noise around a level that jumps once, at another time and by another amount in every window."""
    when = torch.randint(20, 100, (240, 3, 1), generator=random)
    step = 3 * torch.randn(240, 3, 1, generator=random)
    return torch.where(torch.arange(120) < when, 0.0, step) + 0.2 * torch.randn(240, 3, 120, generator=random)


def frequencies_by_window(random) -> torch.Tensor:
    """Three mixtures of two waves whose frequency differs from window to window by a factor of up to four."""
    rate = 0.02 * 4 ** torch.rand(240, 1, 1, generator=random)
    phase = 2 * math.pi * torch.rand(240, 2, 1, generator=random)
    waves = torch.sin(2 * math.pi * rate * torch.arange(120) + phase)
    mixing = torch.randn(240, 3, 2, generator=random)
    return mixing @ waves + 0.1 * torch.randn(240, 3, 120, generator=random)


def trends(random) -> torch.Tensor:
    """Slopes, and in half of the windows the second modality is the first upside down."""
    slope = torch.randn(240, 3, 1, generator=random) * torch.linspace(-2, 2, 120)
    slope[::2, 1], slope[1::2, 1] = slope[::2, 0], -slope[1::2, 0]
    return slope + 0.1 * torch.randn(240, 3, 120, generator=random)


def bursts(random) -> torch.Tensor:
    """Weak noise with one burst of many times its size."""
    when = torch.randint(0, 110, (240, 1, 1), generator=random)
    inside = (torch.arange(120) - when).abs() < 5
    return inside * 10 * torch.randn(240, 3, 120, generator=random) + 0.1 * torch.randn(
        240, 3, 120, generator=random
    )


PROCESSES = [baseline_steps, frequencies_by_window, trends, bursts]
KINDS = ["points", "gaps", "sparse"]


def imputer_of(process) -> tuple[DiffusionImputer, torch.Tensor]:
    """Return an imputer that knows the cross-spectrum of 200 windows of a process, and all 240 windows."""
    torch.manual_seed(0)
    values = process(generator()).view(240, 3, 24, 5)
    complete = torch.ones_like(values, dtype=torch.bool)
    model = DiffusionImputer(schema(rates=(5, 5, 5), patches=24), imputer_config(width=16))
    standardise(model, values[:200], complete[:200])
    estimate_cross_spectra(model, values[:200], complete[:200], rounds=2)
    return model, values


@pytest.fixture(scope="module", params=PROCESSES)
def untrained(request):
    return imputer_of(request.param)


@pytest.fixture(scope="module", params=PROCESSES)
def trained(request):
    """The imputer after 120 steps on those 200 windows."""
    model, values = imputer_of(request.param)
    train(model, values[:200], torch.ones_like(values[:200], dtype=torch.bool), steps=120)
    return model, values


def errors(model, values, kind) -> tuple[float, float, float]:
    """Return the RMSE of the best naive baseline, the closed-form estimate and the point estimate."""
    random = generator(4)
    conditioning = torch.rand(values.shape, generator=random) < (0.1 if kind == "sparse" else 0.5)
    if kind == "gaps":
        conditioning = (torch.rand(values.shape[:3], generator=random) < 0.5)[..., None].expand_as(values)
    truth = model.standardiser(values, torch.ones_like(conditioning)).flatten(2)
    prepared = model.prepare(values, conditioning)
    hidden, y = ~conditioning.flatten(2), torch.where(conditioning.flatten(2), truth, 0.0)

    def rmse(x: torch.Tensor) -> float:
        return (x - truth)[hidden].square().mean().sqrt().item()

    lines = prepared.references.interpolation.flatten(2)
    naive = [rmse(torch.zeros_like(truth)), rmse(last_value(y, conditioning.flatten(2))), rmse(lines)]
    estimate = rmse(prepared.references.conditional_mean.flatten(2))
    return min(naive), estimate, rmse(model.sample(prepared, 0)[0].flatten(2))


@pytest.mark.parametrize("kind", KINDS)
def test_the_closed_form_estimate_stays_close_to_the_best_naive_baseline(untrained, kind):
    model, values = untrained
    naive, estimate, _ = errors(model, values[200:], kind)
    assert estimate < 1.2 * naive


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_a_trained_imputer_stays_close_to_the_best_naive_baseline(trained, kind):
    model, values = trained
    naive, estimate, point = errors(model, values[200:], kind)
    assert estimate < 1.2 * naive
    assert point < 1.1 * naive
