"""Seeds, learning rate and the local loop."""

import copy
import subprocess
import sys
import time
from functools import partial
from pathlib import Path

import pytest
import torch
from torch import nn

from condi_core.imputer.imputer import DiffusionImputer
from condi_core.training import cosine_rate, derive_seed, train_steps
from tests.helpers.toy import imputer_config, schema, settings, standardise, windows

SGD = settings(task__optimizer="sgd").task
ADAMW = settings(task__optimizer="adamw").task


def test_seeds_are_the_same_on_every_machine():
    assert derive_seed(0, "train.imputer", 1, "site-a") == 6317117244919094233
    assert derive_seed() == 8203414616412130826


def test_seeds_depend_on_every_part_and_its_position():
    seeds = [
        derive_seed(0, "train.imputer", 1, "a"),
        derive_seed(1, "train.imputer", 1, "a"),
        derive_seed(0, "train.task", 1, "a"),
        derive_seed(0, "train.imputer", 2, "a"),
        derive_seed(0, "train.imputer", 1, "b"),
        derive_seed("train.imputer", 0, 1, "a"),
        derive_seed(0, "train.imputer", "1a"),
        derive_seed(0, "train.imputer", 11, ""),
    ]
    assert len(set(seeds)) == len(seeds)
    assert all(0 <= s < 2**63 for s in seeds)
    torch.Generator().manual_seed(max(seeds))


def test_the_learning_rate_falls_to_a_tenth():
    rates = [cosine_rate(0.02, r, 9) for r in range(1, 10)]
    assert rates[0] == pytest.approx(0.02)
    assert rates[-1] == pytest.approx(0.002)
    assert rates[4] == pytest.approx(0.011)
    assert all(a > b for a, b in zip(rates, rates[1:], strict=False))
    assert cosine_rate(0.02, 1, 1) == pytest.approx(0.02)
    assert cosine_rate(0.02, 2, 2) == pytest.approx(0.002)


def squares(model: nn.Module):
    def loss(batch):
        x, y = batch
        return (model(x) - y).square().mean()

    return loss


def test_gradient_descent_is_the_step_by_hand():
    model = nn.Linear(3, 1)
    weight, bias = (p.detach().clone() for p in model.parameters())
    batches = [(100 * torch.randn(8, 3), torch.randn(8, 1)) for _ in range(2)]
    losses = []
    for x, y in batches:
        error = x @ weight.T + bias - y
        losses.append(error.square().mean())
        weight -= 1e-5 * 2 / 8 * error.T @ x
        bias -= 1e-5 * 2 / 8 * error.sum(0)
    mean, steps = train_steps(model, squares(model), batches, SGD, learning_rate=1e-5)
    assert steps == 2
    assert mean == pytest.approx(float(sum(losses) / 2), rel=1e-5)
    torch.testing.assert_close(model.weight.data, weight)
    torch.testing.assert_close(model.bias.data, bias)


def test_adamw_is_that_of_torch_with_clipped_gradients():
    batches = [(scale * torch.randn(8, 3), torch.randn(8, 1)) for scale in (1.0, 100.0, 0.1)]
    model, other = nn.Linear(3, 1), nn.Linear(3, 1)
    other.load_state_dict(model.state_dict())
    optimizer = torch.optim.AdamW(other.parameters(), lr=0.01, weight_decay=1e-4)
    for batch in batches:
        optimizer.zero_grad()
        squares(other)(batch).backward()
        norm = sum(p.grad.square().sum() for p in other.parameters()) ** 0.5
        for p in other.parameters():
            p.grad /= max(norm, 1)
        optimizer.step()
    train_steps(model, squares(model), batches, ADAMW, learning_rate=0.01)
    torch.testing.assert_close(model.weight, other.weight, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("config", [SGD, ADAMW])
def test_steps_are_those_of_torch_optim_to_the_bit(config):
    """One layer gets no gradient in the first two steps."""
    batches = [(torch.randn(8, 3), step) for step in range(4)]
    model = nn.ModuleList([nn.Linear(3, 3), nn.Linear(3, 3)])
    other = copy.deepcopy(model)

    def loss_of(layers):
        def loss(batch):
            values, step = batch
            return layers[0](values).square().mean() + (layers[1](values).abs().mean() if step > 1 else 0)

        return loss

    classes = {"sgd": torch.optim.SGD, "adamw": partial(torch.optim.AdamW, weight_decay=1e-4)}
    optimizer = classes[config.optimizer](other.parameters(), lr=0.01)
    for batch in batches:
        optimizer.zero_grad()
        loss_of(other)(batch).backward()
        if config.optimizer == "adamw":
            nn.utils.clip_grad_norm_(list(other.parameters()), 1.0)
        optimizer.step()
    train_steps(model, loss_of(model), batches, config, learning_rate=0.01)
    for parameter, expected in zip(model.parameters(), other.parameters(), strict=True):
        assert torch.equal(parameter, expected)


@pytest.mark.slow
def test_training_does_not_import_the_compiler_of_torch():
    code = """
import sys
from condi_core.imputer.imputer import DiffusionImputer
from tests.helpers.toy import imputer_config, schema, standardise, windows
from tests.helpers.toy_training import train
values, observed = windows(schema(), 16)
imputer = DiffusionImputer(schema(), imputer_config())
standardise(imputer, values, observed)
train(imputer, values, observed, steps=1)
sys.exit("torch._dynamo" in sys.modules)
"""
    subprocess.run([sys.executable, "-c", code], check=True, cwd=Path(__file__).parents[2])


def test_frozen_parameters_do_not_change():
    model = nn.Linear(3, 1)
    model.bias.requires_grad_(False)
    before = model.bias.clone()
    train_steps(model, squares(model), [(torch.randn(8, 3), torch.ones(8, 1))] * 3, ADAMW, 0.1)
    assert torch.equal(model.bias, before)


def test_model_trains_in_training_mode_and_is_returned_in_evaluation_mode():
    model = nn.Linear(3, 1).eval()
    modes = []

    def loss(batch):
        modes.append(model.training)
        return squares(model)(batch)

    train_steps(model, loss, [(torch.randn(8, 3), torch.ones(8, 1))], SGD, 0.1)
    assert modes == [True]
    assert not model.training


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_a_loss_that_is_not_finite_stops_before_it_spoils_the_weights(bad):
    model = nn.Linear(3, 1)
    x = torch.randn(8, 3)
    with pytest.raises(FloatingPointError, match=f"is {bad} after 2 steps"):
        train_steps(model, lambda b: model(x).square().mean() + b, [0.0, 1.0, bad], SGD, 0.01)
    assert torch.isfinite(model.weight).all()


def test_one_step_is_taken_after_the_deadline():
    model = nn.Linear(3, 1)
    batches = [(torch.randn(8, 3), torch.randn(8, 1))] * 5
    assert train_steps(model, squares(model), batches, SGD, 0.01, deadline=time.monotonic() - 1)[1] == 1
    assert train_steps(model, squares(model), batches, SGD, 0.01, deadline=time.monotonic() + 60)[1] == 5


def test_no_batches_are_no_steps():
    model = nn.Linear(3, 1)
    before = model.weight.clone()
    assert train_steps(model, squares(model), [], SGD, 0.01) == (0, 0)
    assert torch.equal(model.weight, before)


def test_the_same_seed_gives_the_same_weights_to_the_bit():
    values, observed = windows(schema(), 8)

    def trained(seed: int) -> dict:
        torch.manual_seed(0)
        model = DiffusionImputer(schema(), imputer_config())
        standardise(model, values, observed)
        generator = torch.Generator().manual_seed(seed)
        conditioning = observed & (torch.rand(observed.shape, generator=generator) < 0.7)
        batch = model.prepare(values, conditioning, observed & ~conditioning)
        train_steps(model, lambda b: model.loss(b, generator), [batch] * 3, imputer_config(), 0.01)
        return model.state_dict()

    first, again, other = trained(derive_seed(1)), trained(derive_seed(1)), trained(derive_seed(2))
    assert all(torch.equal(first[name], again[name]) for name in first)
    assert not torch.equal(
        first["encoder.patch_embedding.by_rate.0.weight"], other["encoder.patch_embedding.by_rate.0.weight"]
    )
