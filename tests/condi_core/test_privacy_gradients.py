"""DP-SGD per patient: what a patient adds to a step is bounded, and the noise is as calibrated."""

import math

import numpy as np
import pytest
import torch

from condi_core.imputer.diffusion import DiffusionNoise
from condi_core.imputer.imputer import DiffusionImputer
from condi_core.methods import METHODS
from condi_core.privacy.gradients import (
    GradientPrivacy,
    sum_clipped,
    sum_clipped_gradients,
    train_steps_privately,
)
from condi_core.privacy.noise import choose_windows, sample_patients, secure_gaussian_noise
from condi_core.task.batch import TaskBatch
from tests.helpers.toy import imputer_config, perturb, schema, standardise, task_config, windows

SCHEMA = schema(rates=(5, 5, 1, 5))


def task_batch(count=6):
    x, observed = windows(SCHEMA, count)
    labels = (torch.rand(count, 3, generator=torch.Generator().manual_seed(1)) < 0.5).float()
    return TaskBatch(x, observed, observed, labels, torch.zeros(count, 0))


def task_model(method):
    torch.manual_seed(0)
    model = perturb(METHODS[method].model(SCHEMA, task_config()))
    standardise(model, *task_batch()[:2])
    return model


def norm(sums):
    return math.sqrt(sum(float(s.double().square().sum()) for s in sums.values()))


@pytest.mark.parametrize("method", ["mask", "fedinmm"])
@pytest.mark.filterwarnings("ignore:There is a performance drop")
def test_gradients_of_patients_add_up_to_that_of_the_batch_where_none_is_clipped(method):
    model, batch = task_model(method), task_batch()
    sums = sum_clipped_gradients(model, model.training_loss, batch, 1e9)
    (len(batch[0]) * model.training_loss(batch)).backward()
    for name, parameter in model.named_parameters():
        expected = torch.zeros_like(parameter) if parameter.grad is None else parameter.grad
        torch.testing.assert_close(sums[name], expected, rtol=1e-4, atol=1e-5)


def test_gradients_of_the_imputer_add_up_to_that_of_the_batch():
    torch.manual_seed(0)
    model, (x, observed) = perturb(DiffusionImputer(SCHEMA, imputer_config())), windows(SCHEMA, 4)
    standardise(model, x, observed)
    conditioning = observed & (torch.rand(x.shape) < 0.5)
    batch = model.prepare(x, conditioning, observed & ~conditioning)
    noise = DiffusionNoise.draw(batch.x, torch.Generator().manual_seed(0))
    sums = sum_clipped_gradients(model, lambda b: model.loss_given_noise(*b), (batch, noise), 1e9)
    (4 * model.loss(batch, torch.Generator().manual_seed(0))).backward()
    for name, parameter in model.named_parameters():
        if parameter.grad is not None:
            torch.testing.assert_close(sums[name], parameter.grad, rtol=1e-3, atol=1e-4)


def test_replacing_a_patient_by_nothing_moves_the_sum_by_at_most_the_norm():
    model, batch = task_model("mask"), task_batch()

    def sums(rows):
        part = TaskBatch(*(t[rows] for t in batch))
        return sum_clipped_gradients(model, model.training_loss, part, 0.01)

    everyone, others = sums(torch.arange(6)), sums(torch.arange(5))
    moved = norm({name: everyone[name] - others[name] for name in everyone})
    assert moved == pytest.approx(0.01, rel=1e-4), "gradients here are longer than the norm"


def test_the_contribution_of_a_patient_is_bounded_over_all_arrays_together():
    long = {"a": torch.full((1, 9), 3.0), "b": torch.full((1, 2, 2), -4.0)}
    assert norm(sum_clipped(long, 1.5)) == pytest.approx(1.5, rel=1e-6)
    short = {"a": torch.full((1, 4), 0.25)}
    assert torch.equal(sum_clipped(short, 0.5)["a"], short["a"][0])
    broken = {"a": torch.tensor([[1.0, math.nan], [0.1, 0.0], [math.inf, 1.0]])}
    assert sum_clipped(broken, 9.0)["a"].tolist() == pytest.approx([0.1, 0.0])


def test_a_step_adds_noise_of_the_calibrated_deviation_even_without_a_patient():
    model = torch.nn.Linear(300, 200, bias=False)
    start = model.weight.detach().clone()
    privacy = GradientPrivacy(clip=0.5, noise_multiplier=3.0, expected_patients=10.0)
    config = task_config(optimizer="sgd")
    steps = train_steps_privately(model, lambda b: b.sum(), [None], config, 2.0, privacy)
    noise = (start - model.weight.detach()) / (2.0 * 3.0 * 0.5 / 10)
    assert steps == 1
    assert noise.std().item() == pytest.approx(1, abs=0.015) and abs(noise.mean().item()) < 0.02
    again = torch.nn.Linear(300, 200, bias=False)
    again.load_state_dict({"weight": start})
    torch.manual_seed(0)
    train_steps_privately(again, lambda b: b.sum(), [None], config, 2.0, privacy)
    assert (again.weight != model.weight).float().mean() > 0.99, "noise does not depend on a seed"


def test_patients_are_sampled_independently_at_the_rate():
    draws = [sample_patients(50, 0.2) for _ in range(2000)]
    sizes = torch.tensor([float(len(d)) for d in draws])
    assert sizes.mean().item() == pytest.approx(10, abs=0.4)
    assert sizes.var().item() == pytest.approx(50 * 0.2 * 0.8, rel=0.15), "sizes vary as a Poisson sample's"
    assert len(sample_patients(7, 1.0)) == 7
    counts = sum(torch.bincount(torch.from_numpy(d), minlength=50) for d in draws)
    assert counts.min() > 300 and counts.max() < 500


def test_windows_of_a_patient_are_equally_likely():
    numbers = np.bincount(choose_windows(np.full(6000, 3)), minlength=3)
    assert numbers.sum() == 6000 and abs(numbers - 2000).max() < 200
    assert choose_windows(np.ones(5, int)).tolist() == [0] * 5


def test_secure_noise_is_normal():
    noise = secure_gaussian_noise((200, 300))
    assert noise.std() == pytest.approx(1, abs=0.01) and (noise**4).mean() == pytest.approx(3, abs=0.15)
