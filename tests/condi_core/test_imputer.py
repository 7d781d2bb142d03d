"""The imputer as a whole: what it may not touch, what it may not see, and that it learns."""

import numpy as np
import pytest
import torch
from torch import nn
from toy import MEANS, STDS, imputer_config, padding, process, rubbish, schema, standardise, stir, windows

from condi_core.imputer.imputer import Imputer, Prepared
from condi_core.ownership import ownership, trainable
from condi_core.training import fit


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def relate(model: Imputer, values, observed, rounds: int = 3) -> None:
    """Steps of EM, the way sites take them together."""
    x, random = model.standardiser(values, observed), generator(3)
    for _ in range(rounds):
        for name, _, spectra, counts in list(model.references.evidence(x, observed, False, random)):
            spectrum = model.references.get_submodule(name).spectrum
            spectrum.copy_(spectra / counts[:, :, None, None])


def train(model: Imputer, values, observed, steps: int, rate: float = 0.005) -> list[float]:
    """Local training on fresh points, gaps and absent modalities; the loss of each step."""
    losses, random = [], generator(5)

    def batches():
        for step in range(steps):
            picked = torch.randint(len(values), (16,), generator=random)
            x, o = values[picked], observed[picked]
            yield model.prepare(x, seen := o & ~holes(o.shape, step % 3, random), o & ~seen)

    def loss(batch):
        value = model.loss(batch, random)
        losses.append(value.item())
        return value

    fit(model, loss, batches(), imputer_config(), rate)
    return losses


def holes(shape, kind: int, random: torch.Generator) -> torch.Tensor:
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


# What is observed is returned as it is.


def kept(model: Imputer, values, observed) -> None:
    before = values.clone()
    completion = model.impute(values, observed, 3, generator())
    assert torch.equal(completion.point[observed], before[observed])
    assert torch.equal(completion.samples[:, observed], before[observed].expand(3, -1))
    assert torch.equal(model.impute(values, observed).point[observed], before[observed])
    assert torch.equal(values, before)
    assert (completion.point != values)[~observed].all()


def test_observed_samples_come_back_bit_for_bit(imputer, batch):
    kept(imputer, *batch)
    relate(imputer, *batch)
    kept(imputer, *batch)
    imputer.standardiser.mean.copy_(torch.tensor([1e6, -3e-5, 0.1, 7e3]))
    imputer.standardiser.std.copy_(torch.tensor([0.3, 1e-5, 1e4, 3.0]))
    kept(imputer, *batch)


def test_observed_samples_come_back_bit_for_bit_after_training(imputer, batch):
    train(imputer, *batch, steps=4)
    kept(imputer, *batch)


def test_values_come_out_in_the_units_of_the_source(imputer, batch):
    values, observed = batch
    point = imputer.impute(values, observed).point
    x = (point - MEANS[:, None, None]) / STDS[:, None, None]
    assert x[~observed].abs().mean() < 5
    mean, _ = imputer.draw(imputer.prepare(values, observed), 0)
    scale = imputer.standardiser.std[:, None, None]
    expected = mean * scale + imputer.standardiser.mean[:, None, None]
    assert ((point - expected) / scale)[~observed].abs().max() < 1e-3


def test_a_fully_observed_window_is_returned_unchanged(imputer, batch):
    values = torch.randn_like(batch[0])
    everything = torch.ones_like(batch[1])
    completion = imputer.impute(values, everything, 2, generator())
    assert torch.equal(completion.point, values)
    assert torch.equal(completion.samples, values.expand(2, *values.shape))


# What is not observed cannot be seen.


def test_nothing_depends_on_values_that_were_not_observed(imputer, batch):
    values, observed = batch
    relate(imputer, *batch)
    seen = observed & ~holes(observed.shape, 0, generator(2))
    target = observed & ~seen
    prepared = imputer.prepare(values, seen, target)
    loss = imputer.loss(prepared, generator())
    completion = imputer.impute(values, observed, 2, generator())
    mean, drawn = imputer.draw(prepared, 2, generator())
    for bad in rubbish(values, ~observed):
        other = imputer.prepare(bad, seen, target)
        assert all(torch.equal(a, b) for a, b in zip(other, prepared, strict=True))
        assert torch.equal(imputer.loss(other, generator()), loss)
        found = imputer.impute(bad, observed, 2, generator())
        assert torch.equal(found.point, completion.point)
        assert torch.equal(found.samples, completion.samples)
        again = imputer.draw(other, 2, generator())
        assert torch.equal(again[0], mean) and torch.equal(again[1], drawn)


def test_the_relation_does_not_depend_on_values_that_were_not_observed(imputer, batch):
    values, observed = batch
    start = imputer.references.relations[0].spectrum.clone()
    found = []
    for v in [values, *rubbish(values, ~observed)]:
        imputer.references.relations[0].spectrum.copy_(start)
        relate(imputer, v, observed)
        found.append(imputer.references.relations[0].spectrum.clone())
    assert torch.isfinite(found[0]).all()
    assert (found[0] - start).abs().max() > 0.1
    assert all(torch.equal(f, found[0]) for f in found)


def test_targets_are_asked_for_and_not_shown(imputer, batch):
    """The truth of a target is in the loss alone."""
    values, observed = batch
    seen = observed & ~holes(observed.shape, 0, generator(2))
    target = observed & ~seen
    prepared = imputer.prepare(values, seen, target)
    assert torch.equal(prepared.x, imputer.standardiser(values, observed))
    other = imputer.prepare(torch.where(target, values + 100 * STDS[:, None, None], values), seen, target)
    assert torch.equal(other.reference, prepared.reference)
    assert not torch.equal(other.x, prepared.x)
    for a, b in zip(imputer.draw(other, 2, generator()), imputer.draw(prepared, 2, generator()), strict=True):
        assert torch.equal(a, b)
    assert imputer.loss(other, generator()) > imputer.loss(prepared, generator()) + 10
    blind = imputer.prepare(values, seen)
    assert torch.equal(blind.reference, prepared.reference)
    assert not blind.target.any()


def test_without_targets_there_is_no_loss(imputer, batch):
    assert imputer.loss(imputer.prepare(*batch), generator()) == 0


def test_what_is_seen_does_matter(imputer, batch):
    values, observed = batch
    point = imputer.impute(values, observed).point
    for m in range(4):
        other = torch.where(observed, values, 0.0)
        other[:, m] += STDS[m]
        moved = (imputer.impute(other, observed).point - point) / STDS[:, None, None]
        assert all(moved[:, k][~observed[:, k]].abs().mean() > 1e-3 for k in range(4))


# Corner cases.


def test_nothing_observed_gives_finite_completions(imputer, batch):
    values, observed = batch
    observed = observed.clone()
    observed[0] = False
    completion = imputer.impute(values, observed, 3, generator())
    assert torch.isfinite(completion.point).all()
    assert torch.isfinite(completion.samples).all()
    assert (imputer.prepare(values, observed).reference[0] == 0).all()


def test_one_observed_sample_is_enough(imputer, batch):
    values, _ = batch
    one = torch.zeros_like(batch[1])
    one[:, 1, 4, 2] = True
    values = torch.where(one, MEANS[:, None, None] + 2 * STDS[:, None, None], 0.0)
    relate(imputer, *windows(schema(), 40))
    completion = imputer.impute(values, one, 2, generator())
    assert torch.isfinite(completion.samples).all()
    assert torch.equal(completion.samples[:, one], values[one].expand(2, -1))
    _, instant, lines = imputer.prepare(values, one).reference.unbind(3)
    known = imputer.standardiser(values, one)[0, 1, 4, 2]
    torch.testing.assert_close(lines[:, 1], known.expand_as(lines[:, 1]))
    assert (lines[:, [0, 2, 3]] == 0).all()
    assert (instant[:, :, 4, 2] != 0).all()
    assert (instant[:, :, 3] == 0).all()


@pytest.mark.parametrize("what", ["huge", "one huge sample", "constant", "all alike", "tiny"])
def test_strange_values_give_finite_completions(imputer, batch, what):
    values, observed = batch
    values = values.clone()
    if what == "huge":
        values[0] *= 1e6
    elif what == "one huge sample":
        values[:, 1, 4, 2] = 1e6
    elif what == "constant":
        values[:, 2] = 7.0
    elif what == "all alike":
        values[:] = values[:, :1]
    else:
        values[0] = MEANS[:, None, None] + 1e-9 * values[0]
    relate(imputer, *batch)
    for seen in (observed, observed & (torch.rand(observed.shape, generator=generator(6)) < 0.05)):
        completion = imputer.impute(values, seen, 3, generator())
        assert torch.isfinite(completion.point).all() and torch.isfinite(completion.samples).all()
        assert torch.equal(completion.samples[:, seen], values[seen].expand(3, -1))


def test_a_modality_of_one_sample_per_patch_is_completed():
    of = schema(rates=(1,) * 4, patches=48)
    values, observed = windows(of, 6, share=0.2)
    model = Imputer(of, imputer_config())
    standardise(model, values, observed)
    relate(model, values, observed)
    completion = model.impute(values, observed, 2, generator())
    assert torch.isfinite(completion.samples).all()
    assert torch.equal(completion.samples[:, observed], values[observed].expand(2, -1))


def test_a_slower_modality_is_padded_and_its_padding_is_nothing():
    of = schema(rates=(5, 5, 1, 3))
    values, observed = windows(of, 4)
    assert not observed[:, 2, :, 1:].any() and not observed[:, 3, :, 3:].any()
    model = Imputer(of, imputer_config())
    standardise(model, values, observed)
    assert (model.standardiser.std / STDS - 1).abs().max() < 0.3
    stir(model)
    relate(model, values, observed)
    expected = model.impute(values, observed, 2, generator())
    assert torch.isfinite(expected.samples).all()
    assert torch.equal(expected.samples[:, observed], values[observed].expand(2, -1))
    for bad in rubbish(values, ~observed):
        assert torch.equal(model.impute(bad, observed, 2, generator()).samples, expected.samples)


def test_a_slow_modality_costs_what_its_own_samples_cost():
    def numbers(*rates):
        model = Imputer(schema(rates=rates), imputer_config(token_patches=1))
        return sum(p.numel() for p in model.parameters())

    width, both = 16, numbers(100, 100, 1, 1)
    # Read: value, mask and three references by the encoder, noise and mask by the denoiser; written:
    # correction, deviation and a weight for each of three simpler references, velocity. All else is the
    # same whatever the rate.
    per_sample = 7 * width + 6 * (width + 1)
    assert numbers(100, 100, 100, 1) - both == 99 * per_sample
    assert numbers(100, 100, 2, 1) - both == per_sample


def test_references_of_each_rate_are_those_it_would_have_alone():
    of, fast, slow = (schema(rates=rates) for rates in ((5, 1, 5, 1), (5, 5), (1, 1)))
    values, observed = windows(of, 6)
    together = Imputer(of, imputer_config())
    standardise(together, values, observed)
    relate(together, values, observed)
    found = together.prepare(values, observed).reference
    for alone, members in ((fast, [0, 2]), (slow, [1, 3])):
        samples = alone.samples
        own, seen = values[:, members, :, :samples], observed[:, members, :, :samples]
        model = Imputer(alone, imputer_config())
        standardise(model, own, seen)
        group = [g.samples for g in of.rate_groups].index(samples)
        model.references.relations[0].load_state_dict(together.references.relations[group].state_dict())
        expected = model.prepare(own, seen).reference
        torch.testing.assert_close(found[:, members, ..., :samples], expected)
    lines = found[0, 1, :, 2, 0]
    at = observed[0, 1, :, 0].nonzero()[:, 0]
    x = together.standardiser(values, observed)[0, 1, at, 0]
    np.testing.assert_allclose(lines, np.interp(range(of.patches), at, x), atol=1e-6)
    assert (found[:, [1, 3], ..., 1:] == 0).all()


def test_a_patch_weighs_the_same_in_the_loss_at_every_rate():
    of = schema(rates=(6, 2))
    model = Imputer(of, imputer_config())
    values = torch.where(padding(of), 1.0, 0.0).expand(3, *of.shape)
    nothing = torch.zeros_like(values, dtype=torch.bool)
    losses = []
    for modality in range(2):
        target = nothing.clone()
        target[:, modality] = padding(of)[modality]
        losses.append(model.loss(model.prepare(values, nothing, target), generator()).item())
    # At the start all predictions are 0: |1| + 1² and the likelihood are the same, the diffusion loss random.
    assert losses[0] == pytest.approx(losses[1], rel=0.15)


def test_windows_do_not_influence_each_other(imputer, batch):
    values, observed = batch
    observed = observed.clone()
    observed[0] = False
    observed[1, 2] = False
    relate(imputer, *batch)
    together = imputer.prepare(values, observed)
    mean = imputer.draw(together, 0)[0]
    for i in range(6):
        alone = imputer.prepare(values[i : i + 1], observed[i : i + 1])
        # Conjugate gradients, stopped early, carry on how sums were rounded.
        torch.testing.assert_close(alone.reference, together.reference[i : i + 1], atol=5e-3, rtol=0)
        torch.testing.assert_close(imputer.draw(alone, 0)[0], mean[i : i + 1], atol=5e-3, rtol=0)


def test_draws_do_not_influence_each_other(imputer, batch, monkeypatch):
    """How many draws share a pass of the network changes nothing but the speed."""
    prepared = imputer.prepare(*batch)
    expected = imputer.draw(prepared, 5, generator())[1]
    for together in (1, 12, 1000):
        monkeypatch.setattr("condi_core.imputer.imputer.TOGETHER", together)
        found = imputer.draw(prepared, 5, generator())[1]
        torch.testing.assert_close(found, expected, atol=1e-4, rtol=1e-4)
    assert all((expected[i] - expected[j]).abs().mean() > 0.1 for i in range(5) for j in range(i))


@pytest.mark.parametrize("draws", [5, 6])
def test_point_is_the_median_where_there_are_draws(imputer, batch, draws):
    values, observed = batch
    completion = imputer.impute(values, observed, draws, generator())
    assert completion.samples.shape == (draws, *values.shape)
    median = np.median(completion.samples.numpy(), axis=0)
    np.testing.assert_allclose(completion.point.numpy(), median, rtol=1e-4, atol=1e-5)
    alone = imputer.impute(values, observed)
    assert alone.samples.shape == (0, *values.shape)
    assert not torch.equal(alone.point, completion.point)


def test_a_fresh_denoiser_draws_normal_residuals_around_the_mean(batch):
    """Its zero head is the exact answer there, in any number of steps."""
    for steps in (1, 4):
        model = Imputer(schema(), imputer_config(sampling_steps=steps))
        standardise(model, *batch)
        nn.init.normal_(model.encoder.head.by_rate[0].weight, std=0.1)
        prepared = model.prepare(*batch)
        mean, drawn = model.draw(prepared, 400, generator())
        with torch.no_grad():
            log_deviation = model._encode(prepared)[2]
        z = (drawn - mean) / log_deviation.exp()
        assert z.mean().abs() < 0.01
        assert (z.std(0).mean() - 1).abs() < 0.01
        assert log_deviation.std() > 0.1


def test_in_mixed_precision_the_estimate_is_the_same_and_the_network_about_so(imputer, batch):
    """As on a GPU, where sites run the network in bfloat16."""
    values, observed = batch
    seen = observed & ~holes(observed.shape, 0, generator(2))
    target = observed & ~seen
    expected = imputer.prepare(values, seen, target)
    mean, drawn = imputer.draw(expected, 2, generator())
    loss = imputer.loss(expected, generator())
    with torch.autocast("cpu", torch.bfloat16):
        prepared = imputer.prepare(values, seen, target)
        assert all(torch.equal(a, b) for a, b in zip(prepared, expected, strict=True))
        half_mean, half_drawn = imputer.draw(prepared, 2, generator())
        half_loss = imputer.loss(prepared, generator())
    half_loss.backward()
    assert half_mean.dtype == half_drawn.dtype == half_loss.dtype == torch.float32
    assert not torch.equal(half_mean, mean)
    torch.testing.assert_close(half_mean, mean, atol=0.05, rtol=0)
    torch.testing.assert_close(half_drawn, drawn, atol=0.2, rtol=0)
    torch.testing.assert_close(half_loss, loss, atol=0, rtol=0.02)
    assert all(torch.isfinite(p.grad).all() for p in imputer.parameters() if p.requires_grad)


def test_the_mean_can_be_moved_to_each_simpler_reference(imputer, batch):
    prepared = imputer.prepare(*batch)
    nn.init.zeros_(imputer.encoder.head.by_rate[0].weight)
    estimate, instant, lines = prepared.reference.unbind(3)
    for place, expected in enumerate((instant, lines, torch.zeros_like(lines))):
        bias = imputer.encoder.head.by_rate[0].bias
        nn.init.zeros_(bias)
        # Of deviation, correction and three weights, a weight whose hyperbolic tangent is 1.
        with torch.no_grad():
            bias.view(4, imputer.span, 5, 5)[:, :, 2 + place] = 100.0
        torch.testing.assert_close(imputer.draw(prepared, 0)[0], expected, atol=1e-5, rtol=0)
    nn.init.zeros_(bias)
    torch.testing.assert_close(imputer.draw(prepared, 0)[0], estimate)


# References.


def test_leads_that_follow_from_others_are_derived():
    """Einthoven and Goldberger: four of the twelve leads are sums of I and II."""
    of = schema(rates=(5,) * 12)
    x = process(40, 8, 60, generator()) * torch.linspace(0.05, 0.4, 8)[:, None]
    x += 0.1 * torch.randn(x.shape, generator=generator(1))
    one, two = x[:, 0], x[:, 1]
    derived = torch.stack([two - one, -(one + two) / 2, one - two / 2, two - one / 2], 1)
    values = torch.cat([x[:, :2], derived, x[:, 2:]], 1).view(40, 12, 12, 5) + 0.3
    complete = torch.ones_like(values, dtype=torch.bool)
    model = Imputer(of, imputer_config())
    standardise(model, values, complete)
    relate(model, values, complete, rounds=1)
    seen = complete.clone()
    seen[:, 2:6] = False
    reference = model.prepare(values, seen).reference
    truth = model.standardiser(values, complete)
    assert (truth.std((0, 2, 3)) - 1).abs().max() < 0.01
    for lead in range(2, 6):
        error = (reference[:, lead] - truth[:, lead, :, None]).square().mean((0, 1, 3)).sqrt()
        assert error[0] < 0.02 and error[1] < 0.02
        assert error[2] > 0.9  # by itself, there is nothing to interpolate


def test_what_the_other_modalities_settle_is_taken_from_them():
    """Two modalities in fixed proportion, and two of their own: only the former are settled."""
    values = windows(schema(), 30, share=1.0)[0]
    values[:, 1] = MEANS[1] + (values[:, 0] - MEANS[0]) / STDS[0] * STDS[1]
    complete = torch.ones_like(values, dtype=torch.bool)
    model = Imputer(schema(), imputer_config())
    standardise(model, values, complete)
    relate(model, values, complete, rounds=1)
    seen = torch.rand(values.shape, generator=generator()) < 0.5
    seen[:, 0] |= ~seen[:, 1]
    estimate, instant, _ = model.prepare(values, seen).reference.unbind(3)
    truth = model.standardiser(values, complete)
    settled = ~seen[:, 1]
    assert torch.equal(estimate[:, 1][settled], instant[:, 1][settled])
    assert (estimate - truth)[:, 1][settled].abs().max() < 0.05
    alone = ~seen[:, 2]
    assert (estimate != instant)[:, 2][alone].float().mean() > 0.99
    error, without_time = ((r - truth)[:, 2][alone].square().mean() for r in (estimate, instant))
    assert error < 0.8 * without_time


# Learning.


def matched(monkeypatch, noise, unknown, t) -> None:
    """Let the next loss take its random numbers from here."""
    normal = [noise, unknown]
    monkeypatch.setattr(torch, "randn", lambda *a, **k: normal.pop(0))
    monkeypatch.setattr(torch, "rand", lambda *a, **k: t)


def test_losses_of_two_sites_average_to_that_of_their_pool(imputer, batch, monkeypatch):
    values, observed = batch
    seen = observed & ~holes(observed.shape, 0, generator(2))
    seen[0] = observed[0]  # a window with nothing to learn from counts as one all the same
    prepared = imputer.prepare(values, seen, observed & ~seen)
    noise, unknown, t = torch.randn(values.shape), torch.randn(values.shape), torch.rand(len(values))

    def loss(part: slice) -> float:
        with monkeypatch.context() as patch:
            matched(patch, noise[part], unknown[part], t[part])
            return imputer.loss(Prepared(*(x[part] for x in prepared)), None).item()

    parts = (loss(slice(0, 2)) * 2 + loss(slice(2, 6)) * 4) / 6
    assert parts == pytest.approx(loss(slice(0, 6)), rel=1e-4)
    assert abs(loss(slice(0, 2)) - loss(slice(2, 6))) > 1e-3


def test_loss_is_the_one_written_down(imputer, batch, monkeypatch):
    """Point error, likelihood and diffusion by hand, for a prediction of the velocity that is 0."""
    values, observed = batch
    seen = observed & ~holes(observed.shape, 0, generator(2))
    prepared = imputer.prepare(values, seen, observed & ~seen)
    nn.init.zeros_(imputer.denoiser.head.by_rate[0].weight)
    nn.init.zeros_(imputer.denoiser.head.by_rate[0].bias)
    with torch.no_grad():
        _, mean, log_deviation = imputer._encode(prepared)
    noise, unknown, t = torch.randn(values.shape), torch.randn(values.shape), torch.rand(len(values))
    error = (prepared.x - mean)[prepared.target]
    spread = log_deviation[prepared.target]
    z = error / spread.exp()
    angle = (t * torch.pi / 2)[:, None, None, None].expand(values.shape)[prepared.target]
    velocity = angle.cos() * noise[prepared.target] - angle.sin() * z.clamp(-8, 8)
    expected = (error.abs() + error**2).sum()
    expected += 0.1 * (spread + 0.5 * (z**2).clamp(max=100)).sum()
    expected += 0.3 * (velocity**2).sum()
    matched(monkeypatch, noise, unknown, t)
    torch.testing.assert_close(imputer.loss(prepared, None), expected / values.numel())


def test_the_denoiser_sees_what_it_will_see_when_drawing(imputer, batch, monkeypatch):
    """Noisy residuals of targets, noise where nobody knows the truth, and nothing where samples are seen."""
    values, observed = batch
    seen = observed & ~holes(observed.shape, 0, generator(2))
    prepared = imputer.prepare(values, seen, observed & ~seen)
    with torch.no_grad():
        _, mean, log_deviation = imputer._encode(prepared)
    noise, unknown, t = torch.randn(values.shape), torch.randn(values.shape), torch.rand(len(values))
    residual = torch.where(observed, ((prepared.x - mean) / log_deviation.exp()).clamp(-8, 8), unknown)
    angle = (t * torch.pi / 2)[:, None, None, None]
    given = []
    imputer.denoiser.register_forward_pre_hook(lambda module, inputs: given.append(inputs))
    matched(monkeypatch, noise, unknown, t)
    imputer.loss(prepared, None)
    noisy, hidden, when = given[0][:3]
    assert torch.equal(hidden, ~seen) and torch.equal(when, t)
    assert (noisy[seen] == 0).all()
    expected = angle.cos() * residual + angle.sin() * noise
    torch.testing.assert_close(noisy[~seen], expected[~seen], atol=1e-5, rtol=1e-5)


def test_gradients_reach_every_parameter(imputer, batch):
    values, observed = batch
    seen = observed & ~holes(observed.shape, 0, generator(2))
    imputer.loss(imputer.prepare(values, seen, observed & ~seen), generator()).backward()
    for name, parameter in imputer.named_parameters():
        gradient = parameter.grad
        assert torch.isfinite(gradient).all(), name
        assert gradient.abs().max() > 1e-8, name
    for name, owner in ownership(imputer).items():
        if owner.kind != "shared" and name in trainable(imputer):
            rows = imputer.get_parameter(name).grad.flatten(1 if owner.kind == "modality" else 2)
            assert (rows.abs().amax(-1) > 1e-8).all(), name


@pytest.fixture(scope="module")
def trained():
    """An imputer after 40 steps on related modalities; its losses on other windows before and after."""
    torch.manual_seed(0)
    values, observed = windows(schema(), 80, seed=1, share=0.9)
    model = Imputer(schema(), imputer_config())
    standardise(model, values, observed)
    relate(model, values, observed, rounds=4)
    before = held_out(model)
    train(model, values, observed, steps=40)
    return model, before, held_out(model)


@torch.no_grad()
def held_out(model: Imputer) -> tuple[float, float]:
    """The loss with fixed random numbers, and the negative log-likelihood of the normal head."""
    values, observed = windows(schema(), 40, seed=3, share=0.9)
    seen = observed & ~holes(observed.shape, 0, generator(8))
    prepared = model.prepare(values, seen, observed & ~seen)
    _, mean, log_deviation = model._encode(prepared)
    z = (prepared.x - mean) / log_deviation.exp()
    likelihood = (log_deviation + z**2 / 2)[prepared.target].mean().item()
    return model.loss(prepared, generator(9)).item(), likelihood


def test_training_lowers_the_loss(trained):
    _, before, after = trained
    # The mean has little left to learn, and the diffusion loss rises to 1 as the deviations come right: only
    # the likelihood tells.
    assert after[1] < before[1] - 0.1


@pytest.mark.parametrize("kind", ["points", "gap", "absent"])
def test_a_trained_imputer_beats_linear_interpolation(trained, kind):
    model, _, _ = trained
    values, observed = windows(schema(), 40, seed=2, share=0.9)
    seen = observed & ~holes(observed.shape, ["points", "gap", "absent"].index(kind), generator(7))
    prepared = model.prepare(values, seen, observed & ~seen)
    mean, drawn = model.draw(prepared, 11, generator())

    def rmse(x):
        return (x - prepared.x)[prepared.target].square().mean().sqrt().item()

    lines = prepared.reference[:, :, :, -1]
    # Each modality carries noise of 0.1 of its own, which nothing can know.
    assert 0.09 < rmse(mean) < 0.13
    assert rmse(mean) < (0.6 if kind == "points" else 0.3) * rmse(lines)
    assert rmse(drawn.median(0).values) < 1.2 * rmse(mean)
    inside = (drawn.amin(0) <= prepared.x) & (prepared.x <= drawn.amax(0))
    assert 0.6 < inside[prepared.target].float().mean() < 0.98
