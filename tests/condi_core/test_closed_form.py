"""Closed-form estimates of modalities of any rate."""

import numpy as np
import pytest
import torch
from torch import nn

from condi_core.imputer import closed_form
from condi_core.imputer.closed_form import References
from condi_core.imputer.imputer import DiffusionImputer
from condi_core.imputer.wrong_gains import compute_shrinkage, wrong_gains
from tests.helpers.toy import (
    MEANS,
    STDS,
    corrupt,
    imputer_config,
    perturb,
    process,
    schema,
    standardise,
    windows,
)
from tests.helpers.toy_training import estimate_cross_spectra, generator

# Rates.


def test_a_modality_of_one_sample_per_patch_is_completed():
    of = schema(rates=(1,) * 4, patches=48)
    values, observed = windows(of, 6, share=0.2)
    model = DiffusionImputer(of, imputer_config())
    standardise(model, values, observed)
    estimate_cross_spectra(model, values, observed)
    completion = model.impute(values, observed, 2, generator())
    assert torch.isfinite(completion.draws).all()
    assert torch.equal(completion.draws[:, observed], values[observed].expand(2, -1))


def test_padding_of_a_slower_modality_has_no_influence():
    of = schema(rates=(5, 5, 1, 3))
    values, observed = windows(of, 4)
    assert not observed[:, 2, :, 1:].any() and not observed[:, 3, :, 3:].any()
    model = DiffusionImputer(of, imputer_config())
    standardise(model, values, observed)
    assert (model.standardiser.std / STDS - 1).abs().max() < 0.3
    perturb(model)
    estimate_cross_spectra(model, values, observed)
    expected = model.impute(values, observed, 2, generator())
    assert torch.isfinite(expected.draws).all()
    assert torch.equal(expected.draws[:, observed], values[observed].expand(2, -1))
    for bad in corrupt(values, ~observed):
        assert torch.equal(model.impute(bad, observed, 2, generator()).draws, expected.draws)


def test_a_slow_modality_costs_what_its_own_samples_cost():
    def count_parameters(*rates):
        model = DiffusionImputer(schema(rates=rates), imputer_config(token_patches=1))
        return sum(p.numel() for p in model.parameters())

    width, expected = 16, count_parameters(100, 100, 1, 1)
    # Each sample has inputs: the encoder reads value, mask, three references, six numbers about neighbours
    # and five about the relation to other modalities, the denoiser noise and mask. It has 32 numbers of the
    # sample's head and the velocity as outputs.
    per_sample = 18 * width + 33 * (width + 1)
    # Three modalities of one rate and one of another have two more coefficients than two and two.
    assert count_parameters(100, 100, 100, 1) - expected == 99 * per_sample + 2
    # Each rate has a layer of the head that reads samples, with as many weights in all.
    assert count_parameters(100, 100, 2, 1) - expected == per_sample - 2


def test_references_of_each_rate_do_not_depend_on_other_rates():
    of, fast, slow = (schema(rates=rates) for rates in ((5, 1, 5, 1), (5, 5), (1, 1)))
    values, observed = windows(of, 6)
    together = DiffusionImputer(of, imputer_config())
    standardise(together, values, observed)
    estimate_cross_spectra(together, values, observed)
    references = together.prepare(values, observed).references
    for one_rate, members in ((fast, [0, 2]), (slow, [1, 3])):
        samples = one_rate.samples
        selected, mask = values[:, members, :, :samples], observed[:, members, :, :samples]
        model = DiffusionImputer(one_rate, imputer_config())
        standardise(model, selected, mask)
        group = [g.samples for g in of.rate_groups].index(samples)
        spectrum = together.closed_form.cross_spectra[group].state_dict()
        model.closed_form.cross_spectra[0].load_state_dict(spectrum)
        for reference, expected in zip(references, model.prepare(selected, mask).references, strict=True):
            torch.testing.assert_close(reference[:, members, :, :samples], expected)
    lines = references.interpolation[0, 1, :, 0]
    times = observed[0, 1, :, 0].nonzero()[:, 0]
    x = together.standardiser(values, observed)[0, 1, times, 0]
    np.testing.assert_allclose(lines, np.interp(range(of.patches), times, x), atol=1e-6)
    assert all((reference[:, [1, 3], :, 1:] == 0).all() for reference in references)


# Values of the estimates.


def test_leads_that_follow_from_others_are_derived():
    """Einthoven and Goldberger: four of the twelve leads are sums of I and II."""
    of = schema(rates=(5,) * 12)
    x = process(40, 8, 60, generator()) * torch.linspace(0.05, 0.4, 8)[:, None]
    x += 0.1 * torch.randn(x.shape, generator=generator(1))
    lead_i, lead_ii = x[:, 0], x[:, 1]
    lead_iii, avr = lead_ii - lead_i, -(lead_i + lead_ii) / 2
    avl, avf = lead_i - lead_ii / 2, lead_ii - lead_i / 2
    derived = torch.stack([lead_iii, avr, avl, avf], 1)
    values = torch.cat([x[:, :2], derived, x[:, 2:]], 1).view(40, 12, 12, 5) + 0.3
    complete = torch.ones_like(values, dtype=torch.bool)
    model = DiffusionImputer(of, imputer_config())
    standardise(model, values, complete)
    estimate_cross_spectra(model, values, complete, rounds=1)
    conditioning = complete.clone()
    conditioning[:, 2:6] = False
    references = model.prepare(values, conditioning).references
    truth = model.standardiser(values, complete)
    assert (truth.std((0, 2, 3)) - 1).abs().max() < 0.01
    for lead in range(2, 6):
        error = References(*((r - truth)[:, lead].square().mean().sqrt() for r in references))
        assert error.conditional_mean < 0.02 and error.same_instant < 0.02
        assert error.interpolation > 0.9  # the modality itself has nothing to interpolate


def test_what_other_modalities_determine_is_taken_from_them():
    """Two modalities in fixed proportion and two independent ones: only the former are determined."""
    values = windows(schema(), 30, share=1.0)[0]
    values[:, 1] = MEANS[1] + (values[:, 0] - MEANS[0]) / STDS[0] * STDS[1]
    complete = torch.ones_like(values, dtype=torch.bool)
    model = DiffusionImputer(schema(), imputer_config())
    standardise(model, values, complete)
    estimate_cross_spectra(model, values, complete, rounds=1)
    conditioning = torch.rand(values.shape, generator=generator()) < 0.5
    conditioning[:, 0] |= ~conditioning[:, 1]
    references = model.prepare(values, conditioning).references
    estimate, instant = references.conditional_mean, references.same_instant
    truth = model.standardiser(values, complete)
    determined = ~conditioning[:, 1]
    assert torch.equal(estimate[:, 1][determined], instant[:, 1][determined])
    assert (estimate - truth)[:, 1][determined].abs().max() < 0.05
    independent = ~conditioning[:, 2]
    assert (estimate != instant)[:, 2][independent].float().mean() > 0.99
    error, without_time = ((r - truth)[:, 2][independent].square().mean() for r in (estimate, instant))
    assert error < 0.8 * without_time


def test_gains_that_are_far_from_those_of_the_other_modalities_are_found():
    x = torch.randn(2, 5, 400, generator=generator())
    observed = torch.rand(x.shape, generator=generator(1)) < 0.5
    factors = torch.tensor([1.0, 30.0, 2.0, 0.5, 1.0])[:, None]
    gains = wrong_gains(torch.where(observed, factors * x, 0.0), observed)
    assert (gains[:, [0, 2, 3, 4]] == 1).all()
    # 200 samples of 30 times the amplitude, against 20 of the usual one; and three is not a wrong gain.
    expected = ((200 * 30**2 + 20) / 220) ** 0.5 / 3
    assert gains[:, 1].flatten().tolist() == pytest.approx([expected] * 2, rel=0.1)
    assert (wrong_gains(torch.zeros_like(x), torch.zeros_like(observed)) == 1).all()


def test_a_wrong_gain_of_one_modality_does_not_spoil_the_others(monkeypatch):
    of = schema(patches=24)
    values, complete = windows(of, 12, share=1.0)
    model = DiffusionImputer(of, imputer_config())
    standardise(model, values, complete)
    estimate_cross_spectra(model, values, complete, rounds=1)
    conditioning = torch.rand(values.shape, generator=generator()) < 0.5
    truth = model.standardiser(values, complete)
    wrong = truth.clone()
    wrong[:, 0] *= 40

    def error(x):
        references = model.closed_form(torch.where(conditioning, x, 0.0), conditioning)
        return (references.conditional_mean - x)[:, 1:][~conditioning[:, 1:]].square().mean().sqrt()

    assert error(wrong) < 2 * error(truth)
    monkeypatch.setattr(closed_form, "wrong_gains", lambda x, _: torch.ones_like(x[..., :1]))
    assert error(wrong) > 8 * error(truth)


def test_a_missing_modality_is_shrunk_where_the_others_contradict_each_other():
    """The third of four modalities is the sum of two, and the missing fourth follows it."""
    first, second, noise = torch.randn(3, 200, 1, 400, generator=generator())
    third = (first + second) / 2**0.5
    x = torch.cat([first, second, third, (third + noise) / 2**0.5], 1)
    covariance, observed = x.transpose(0, 1).flatten(1).cov(), torch.ones_like(x, dtype=torch.bool)
    assert (compute_shrinkage(x, observed, covariance) == 1).all()
    observed[:, 3] = False
    gains = torch.exp(0.3 * torch.randn(200, 4, 1, generator=generator(1)))
    right, wrong = (compute_shrinkage(windows, observed, covariance) for windows in (x, gains * x))
    assert (right[:, :3] == 1).all() and (wrong[:, :3] == 1).all()
    assert right[:, 3].mean() > 0.99 and wrong[:, 3].median() < 0.02


def test_with_wrong_gains_a_missing_modality_is_hardly_worse_than_its_mean(monkeypatch):
    """The gains of all modalities are wrong, and nothing observed says what that of the missing one is."""
    of = schema(patches=24)
    values, complete = windows(of, 40, share=1.0)
    means, deviations = MEANS[:, None, None], STDS[:, None, None]
    values[:, 2] = means[2] + deviations[2] * ((values - means) / deviations)[:, :2].mean(1)
    model = DiffusionImputer(of, imputer_config())
    standardise(model, values, complete)
    estimate_cross_spectra(model, values, complete, rounds=1)
    truth = model.standardiser(values, complete)
    gains = torch.exp(0.5 * torch.randn(40, 4, 1, 1, generator=generator(2)))
    gains[:, 3] /= 5
    conditioning = complete.clone()
    conditioning[:, 3] = False

    def error(x):
        """Return the error of the missing modality, divided by that of its mean."""
        mean = model.closed_form(torch.where(conditioning, x, 0.0), conditioning).conditional_mean
        return ((mean - x)[:, 3].square().mean() / x[:, 3].square().mean()).sqrt()

    right = error(truth)
    assert error(gains * truth) < 1.2
    monkeypatch.setattr(closed_form, "compute_shrinkage", lambda x, *_: torch.ones_like(x[..., :1]))
    assert error(gains * truth) > 3
    assert right == pytest.approx(float(error(truth)), rel=0.01)


def test_only_uncertain_estimates_of_a_missing_modality_are_shrunk(monkeypatch):
    of = schema(patches=24)
    values, complete = windows(of, 20, share=1.0)
    means, deviations = MEANS[:, None, None], STDS[:, None, None]
    values[:, 2] = means[2] + deviations[2] * ((values - means) / deviations)[:, :2].mean(1)
    values[:, 3] = means[3] + deviations[3] * torch.randn(values[:, 3].shape, generator=generator(3))
    model = DiffusionImputer(of, imputer_config())
    standardise(model, values, complete)
    estimate_cross_spectra(model, values, complete, rounds=1)
    conditioning, truth = complete.clone(), model.standardiser(values, complete)

    def estimates(missing):
        """Return the estimates of a missing modality, and those that are shrunk by a tenth."""
        conditioning[:] = True
        conditioning[:, missing] = False
        visible = torch.where(conditioning, truth, 0.0)
        for factor in (1.0, 0.1):
            monkeypatch.setattr(closed_form, "compute_shrinkage", lambda x, *_, f=factor: x[..., :1] * 0 + f)
            yield model.closed_form(visible, conditioning).conditional_mean[:, missing]

    certain, shrunk = estimates(2)
    assert torch.equal(certain, shrunk)
    uncertain, shrunk = estimates(3)
    torch.testing.assert_close(shrunk, 0.1 * uncertain)


def test_the_mean_can_be_moved_to_each_baseline(imputer, batch):
    prepared = imputer.prepare(*batch)
    nn.init.zeros_(imputer.encoder.head.by_rate[0].weight)
    estimate, instant, lines = prepared.references
    last, following, mean = prepared.neighbours[:, :, :, 2:5].unbind(3)
    with torch.no_grad():
        relation = imputer._encode(prepared)[2].prediction
    baselines = (instant, lines, torch.zeros_like(lines), mean, last, following, relation)
    for index, expected in enumerate(baselines):
        bias = imputer.encoder.head.by_rate[0].bias
        nn.init.zeros_(bias)
        # After deviation, tail, skew and correction come the mixing logits; the tangent of this one is 1.
        with torch.no_grad():
            bias[:, 4 + index] = 100.0
        torch.testing.assert_close(imputer.sample(prepared, 0)[0], expected, atol=1e-5, rtol=0)
    nn.init.zeros_(bias)
    torch.testing.assert_close(imputer.sample(prepared, 0)[0], estimate)
