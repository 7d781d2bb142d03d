"""What the imputer's network adds to the closed-form estimates: draws, loss and learning."""

import numpy as np
import pytest
import torch
from torch import nn

from condi_core.imputer.imputer import DiffusionImputer
from condi_core.ownership import ownership, trainable
from tests.helpers.toy import imputer_config, is_sample, schema, standardise, windows
from tests.helpers.toy_training import estimate_cross_spectra, generator, missingness, same_batch, train

# Draws.


def test_draws_do_not_influence_each_other(imputer, batch, monkeypatch):
    """The number of draws per pass of the network affects only the speed."""
    prepared = imputer.prepare(*batch)
    expected = imputer.sample(prepared, 5, generator())[1]
    for windows_per_pass in (1, 12, 1000):
        monkeypatch.setattr("condi_core.imputer.imputer.DENOISER_BATCH", windows_per_pass)
        draws = imputer.sample(prepared, 5, generator())[1]
        torch.testing.assert_close(draws, expected, atol=1e-4, rtol=1e-4)
    assert all((expected[i] - expected[j]).abs().mean() > 0.1 for i in range(5) for j in range(i))


@pytest.mark.parametrize("draws", [5, 6])
def test_point_is_the_median_where_there_are_draws(imputer, batch, draws):
    values, observed = batch
    completion = imputer.impute(values, observed, draws, generator())
    assert completion.draws.shape == (draws, *values.shape)
    median = np.median(completion.draws.numpy(), axis=0)
    np.testing.assert_allclose(completion.point.numpy(), median, rtol=1e-4, atol=1e-5)
    without_draws = imputer.impute(values, observed)
    assert without_draws.draws.shape == (0, *values.shape)
    deviation = values[observed].std()
    assert (without_draws.point - completion.point).abs().max() < 0.05 * deviation


def test_a_fresh_denoiser_draws_independent_samples_of_the_marginals(batch):
    """Its zero head is the exact answer there, in any number of steps."""
    for steps in (1, 4):
        model = DiffusionImputer(schema(), imputer_config(sampling_steps=steps))
        standardise(model, *batch)
        nn.init.normal_(model.encoder.head.by_rate[0].weight, std=0.03)
        prepared = model.prepare(*batch)
        median, draws = model.sample(prepared, 400, generator())
        with torch.no_grad():
            marginal = model._encode(prepared)[1]
        z = marginal.normal_score(draws)
        assert z.mean().abs() < 0.01
        assert (z.std(0).mean() - 1).abs() < 0.01
        assert marginal.deviation.log().std() > 0.1
        cells = z[:, 0].flatten(1)[:, :40]
        assert (cells.T.corrcoef() - torch.eye(40)).abs().mean() < 0.05
        torch.testing.assert_close(draws.median(0).values, median, atol=0.01, rtol=0)


def test_mixed_precision_changes_the_network_slightly_and_the_estimate_not_at_all(imputer, batch):
    """Sites compute in float32; benchmarks/imputer.py measures whether bfloat16 is worth it on a GPU."""
    values, observed = batch
    conditioning = observed & ~missingness(observed.shape, 0, generator(2))
    target = observed & ~conditioning
    expected = imputer.prepare(values, conditioning, target)
    mean, draws = imputer.sample(expected, 1, generator())
    loss = imputer.loss(expected, generator())
    with torch.autocast("cpu", torch.bfloat16):
        prepared = imputer.prepare(values, conditioning, target)
        assert same_batch(prepared, expected)
        half_mean, half_draws = imputer.sample(prepared, 1, generator())
        half_loss = imputer.loss(prepared, generator())
    half_loss.backward()
    assert half_mean.dtype == half_draws.dtype == half_loss.dtype == torch.float32
    assert not torch.equal(half_mean, mean)
    torch.testing.assert_close(half_mean, mean, atol=0.1, rtol=0.05)
    torch.testing.assert_close(half_draws, draws, atol=0.4, rtol=0.1)
    torch.testing.assert_close(half_loss, loss, atol=0, rtol=0.02)
    assert all(torch.isfinite(p.grad).all() for p in imputer.parameters() if p.requires_grad)


# Learning.


def fix_random_numbers(monkeypatch, noise, placeholder, t) -> None:
    """Make the next loss use these random numbers."""
    normal = [noise, placeholder]
    monkeypatch.setattr(torch, "randn", lambda *a, **k: normal.pop(0))
    monkeypatch.setattr(torch, "rand", lambda *a, **k: t)


def test_losses_of_two_sites_average_to_that_of_their_pool(imputer, batch, monkeypatch):
    values, observed = batch
    conditioning = observed & ~missingness(observed.shape, 0, generator(2))
    conditioning[0] = observed[0]  # a window without targets counts like any other
    prepared = imputer.prepare(values, conditioning, observed & ~conditioning)
    noise, placeholder, t = torch.randn(values.shape), torch.randn(values.shape), torch.rand(len(values))

    def loss(part: slice) -> float:
        with monkeypatch.context() as patch:
            fix_random_numbers(patch, noise[part], placeholder[part], t[part])
            return imputer.loss(prepared.select(part, slice(None)), None).item()

    parts = (loss(slice(0, 2)) * 2 + loss(slice(2, 6)) * 4) / 6
    assert parts == pytest.approx(loss(slice(0, 6)), rel=1e-4)
    assert abs(loss(slice(0, 2)) - loss(slice(2, 6))) > 1e-3


def test_loss_is_the_documented_formula(imputer, batch, monkeypatch):
    """Losses of marginals and relation, and diffusion by hand, for a prediction of the velocity that is 0."""
    values, observed = batch
    conditioning = observed & ~missingness(observed.shape, 0, generator(2))
    prepared = imputer.prepare(values, conditioning, observed & ~conditioning)
    nn.init.zeros_(imputer.denoiser.head.by_rate[0].weight)
    nn.init.zeros_(imputer.denoiser.head.by_rate[0].bias)
    with torch.no_grad():
        _, marginal, relation = imputer._encode(prepared)
    noise, placeholder, t = torch.randn(values.shape), torch.randn(values.shape), torch.rand(len(values))
    z = marginal.normal_score(prepared.x)[prepared.target]
    angle = (t * torch.pi / 2)[:, None, None, None].expand(values.shape)[prepared.target]
    velocity = angle.cos() * noise[prepared.target] - angle.sin() * z
    expected = (marginal.loss(prepared.x) + 0.1 * relation.loss(prepared.x))[prepared.target].sum()
    expected = expected + 0.3 * (velocity**2).sum()
    fix_random_numbers(monkeypatch, noise, placeholder, t)
    torch.testing.assert_close(imputer.loss(prepared, None), expected / values.numel())


def test_a_patch_has_the_same_weight_in_the_loss_at_every_rate():
    of = schema(rates=(6, 2))
    model = DiffusionImputer(of, imputer_config())
    values = torch.where(is_sample(of), 1.0, 0.0).expand(3, *of.shape)
    nothing = torch.zeros_like(values, dtype=torch.bool)
    losses = []
    for modality in range(2):
        target = nothing.clone()
        target[:, modality] = is_sample(of)[modality]
        losses.append(model.loss(model.prepare(values, nothing, target), generator()).item())
    # At the start all predictions are 0: |1| + 1² and the likelihood are the same, the diffusion loss random.
    assert losses[0] == pytest.approx(losses[1], rel=0.15)


def test_the_denoiser_is_trained_on_inputs_like_those_of_sampling(imputer, batch, monkeypatch):
    """Noisy scores of targets, noise where the truth is unknown, zeros at conditioning samples."""
    values, observed = batch
    conditioning = observed & ~missingness(observed.shape, 0, generator(2))
    prepared = imputer.prepare(values, conditioning, observed & ~conditioning)
    # With gradients as in the loss: without, attention rounds differently, and scores divide by deviations.
    marginal = imputer._encode(prepared)[1]
    noise, placeholder, t = torch.randn(values.shape), torch.randn(values.shape), torch.rand(len(values))
    score = torch.where(observed, marginal.normal_score(prepared.x).detach(), placeholder)
    angle = (t * torch.pi / 2)[:, None, None, None]
    calls = []
    imputer.denoiser.register_forward_pre_hook(lambda module, inputs: calls.append(inputs))
    fix_random_numbers(monkeypatch, noise, placeholder, t)
    imputer.loss(prepared, None)
    noisy, missing, times = calls[0][:3]
    assert torch.equal(missing, ~conditioning) and torch.equal(times, t)
    assert (noisy[conditioning] == 0).all()
    expected = angle.cos() * score + angle.sin() * noise
    torch.testing.assert_close(noisy[~conditioning], expected[~conditioning], atol=1e-5, rtol=1e-5)


def test_gradients_reach_every_parameter(imputer, batch):
    values, observed = batch
    conditioning = observed & ~missingness(observed.shape, 0, generator(2))
    imputer.loss(imputer.prepare(values, conditioning, observed & ~conditioning), generator()).backward()
    for name, parameter in imputer.named_parameters():
        gradient = parameter.grad
        assert torch.isfinite(gradient).all(), name
        assert gradient.abs().max() > 1e-8, name
    for name, owner in ownership(imputer).items():
        if owner.kind != "shared" and name in trainable(imputer):
            gradient = imputer.get_parameter(name).grad
            rows = gradient.reshape(*gradient.shape[: 1 if owner.kind == "modality" else 2], -1)
            assert (rows.abs().amax(-1) > 1e-8).all(), name


@pytest.fixture(scope="module")
def trained():
    """An imputer after 40 steps on related modalities; its losses on other windows before and after."""
    torch.manual_seed(0)
    values, observed = windows(schema(), 80, seed=1, share=0.9)
    model = DiffusionImputer(schema(), imputer_config())
    standardise(model, values, observed)
    estimate_cross_spectra(model, values, observed, rounds=4)
    before = held_out_loss(model)
    train(model, values, observed, steps=40)
    return model, before, held_out_loss(model)


@torch.no_grad()
def held_out_loss(model: DiffusionImputer) -> tuple[float, float]:
    """Return the loss with fixed random numbers, and the mean loss of the marginals."""
    values, observed = windows(schema(), 40, seed=3, share=0.9)
    conditioning = observed & ~missingness(observed.shape, 0, generator(8))
    prepared = model.prepare(values, conditioning, observed & ~conditioning)
    marginal_loss = model._encode(prepared)[1].loss(prepared.x)[prepared.target].mean().item()
    return model.loss(prepared, generator(9)).item(), marginal_loss


def test_training_lowers_the_loss(trained):
    _, before, after = trained
    # The diffusion loss rises to 1 as the deviations become correct: only the marginals show the training.
    assert after[1] < before[1] - 0.01


def test_a_step_of_training_hardly_moves_the_mean_from_the_estimate(batch):
    model = DiffusionImputer(schema(), imputer_config())
    standardise(model, *batch)
    train(model, *batch, steps=1, rate=0.002)
    prepared = model.prepare(*batch)
    moved = model.sample(prepared, 0)[0] - prepared.references.conditional_mean
    assert 0 < moved[~prepared.conditioning].square().mean().sqrt() < 0.02


@pytest.mark.parametrize("kind", ["points", "gap", "modality"])
def test_a_trained_imputer_beats_linear_interpolation(trained, kind):
    model, _, _ = trained
    values, observed = windows(schema(), 40, seed=2, share=0.9)
    conditioning = observed & ~missingness(
        observed.shape, ["points", "gap", "modality"].index(kind), generator(7)
    )
    prepared = model.prepare(values, conditioning, observed & ~conditioning)
    mean, draws = model.sample(prepared, 11, generator())

    def rmse(x):
        return (x - prepared.x)[prepared.target].square().mean().sqrt().item()

    lines = prepared.references.interpolation
    # Each modality has independent noise of 0.1, which cannot be predicted.
    assert 0.09 < rmse(mean) < 0.13
    assert rmse(mean) < (0.6 if kind == "points" else 0.3) * rmse(lines)
    assert rmse(draws.median(0).values) < 1.2 * rmse(mean)
    inside = (draws.amin(0) <= prepared.x) & (prepared.x <= draws.amax(0))
    assert 0.6 < inside[prepared.target].float().mean() < 0.98
