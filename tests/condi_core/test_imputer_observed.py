"""Observed samples are returned unchanged, and unobserved values have no influence."""

import pytest
import torch

from condi_core.imputer.imputer import DiffusionImputer
from tests.helpers.toy import MEANS, STDS, corrupt, schema, windows
from tests.helpers.toy_training import (
    estimate_cross_spectra,
    generator,
    missingness,
    same_batch,
    same_references,
    train,
)

# Observed samples are returned unchanged.


def assert_observed_unchanged(model: DiffusionImputer, values, observed) -> None:
    before = values.clone()
    completion = model.impute(values, observed, 3, generator())
    assert torch.equal(completion.point[observed], before[observed])
    assert torch.equal(completion.draws[:, observed], before[observed].expand(3, -1))
    assert torch.equal(model.impute(values, observed).point[observed], before[observed])
    assert torch.equal(values, before)
    assert (completion.point != values)[~observed].all()


def test_observed_samples_come_back_bit_for_bit(imputer, batch):
    assert_observed_unchanged(imputer, *batch)
    estimate_cross_spectra(imputer, *batch)
    assert_observed_unchanged(imputer, *batch)
    imputer.standardiser.mean.copy_(torch.tensor([1e6, -3e-5, 0.1, 7e3]))
    imputer.standardiser.std.copy_(torch.tensor([0.3, 1e-5, 1e4, 3.0]))
    assert_observed_unchanged(imputer, *batch)


def test_observed_samples_come_back_bit_for_bit_after_training(imputer, batch):
    train(imputer, *batch, steps=4)
    assert_observed_unchanged(imputer, *batch)


def test_values_come_out_in_the_units_of_the_source(imputer, batch):
    values, observed = batch
    point = imputer.impute(values, observed).point
    x = (point - MEANS[:, None, None]) / STDS[:, None, None]
    assert x[~observed].abs().mean() < 5
    mean, _ = imputer.sample(imputer.prepare(values, observed), 0)
    scale = imputer.standardiser.std[:, None, None]
    expected = mean * scale + imputer.standardiser.mean[:, None, None]
    assert ((point - expected) / scale)[~observed].abs().max() < 1e-3


def test_a_fully_observed_window_is_returned_unchanged(imputer, batch):
    values = torch.randn_like(batch[0])
    everything = torch.ones_like(batch[1])
    completion = imputer.impute(values, everything, 2, generator())
    assert torch.equal(completion.point, values)
    assert torch.equal(completion.draws, values.expand(2, *values.shape))


# Unobserved values have no influence.


def test_nothing_depends_on_values_that_were_not_observed(imputer, batch):
    values, observed = batch
    estimate_cross_spectra(imputer, *batch)
    conditioning = observed & ~missingness(observed.shape, 0, generator(2))
    target = observed & ~conditioning
    prepared = imputer.prepare(values, conditioning, target)
    loss = imputer.loss(prepared, generator())
    completion = imputer.impute(values, observed, 2, generator())
    mean, draws = imputer.sample(prepared, 2, generator())
    for bad in corrupt(values, ~observed):
        other = imputer.prepare(bad, conditioning, target)
        assert same_batch(other, prepared)
        assert torch.equal(imputer.loss(other, generator()), loss)
        other_completion = imputer.impute(bad, observed, 2, generator())
        assert torch.equal(other_completion.point, completion.point)
        assert torch.equal(other_completion.draws, completion.draws)
        again = imputer.sample(other, 2, generator())
        assert torch.equal(again[0], mean) and torch.equal(again[1], draws)


def test_the_cross_spectrum_does_not_depend_on_values_that_were_not_observed(imputer, batch):
    values, observed = batch
    start = imputer.closed_form.cross_spectra[0].spectrum.clone()
    spectra = []
    for v in [values, *corrupt(values, ~observed)]:
        imputer.closed_form.cross_spectra[0].spectrum.copy_(start)
        estimate_cross_spectra(imputer, v, observed)
        spectra.append(imputer.closed_form.cross_spectra[0].spectrum.clone())
    assert torch.isfinite(spectra[0]).all()
    assert (spectra[0] - start).abs().max() > 0.1
    assert all(torch.equal(f, spectra[0]) for f in spectra)


def test_targets_are_in_the_loss_but_not_in_the_input(imputer, batch):
    """The true value of a target affects only the loss."""
    values, observed = batch
    conditioning = observed & ~missingness(observed.shape, 0, generator(2))
    target = observed & ~conditioning
    prepared = imputer.prepare(values, conditioning, target)
    assert torch.equal(prepared.x, imputer.standardiser(values, observed))
    other = imputer.prepare(
        torch.where(target, values + 100 * STDS[:, None, None], values), conditioning, target
    )
    assert same_references(other, prepared)
    assert not torch.equal(other.x, prepared.x)
    other_mean, other_draws = imputer.sample(other, 2, generator())
    expected_mean, expected_draws = imputer.sample(prepared, 2, generator())
    assert torch.equal(other_mean, expected_mean) and torch.equal(other_draws, expected_draws)
    assert imputer.loss(other, generator()) > imputer.loss(prepared, generator()) + 10
    blind = imputer.prepare(values, conditioning)
    assert same_references(blind, prepared)
    assert not blind.target.any()


def test_without_targets_there_is_no_loss(imputer, batch):
    assert imputer.loss(imputer.prepare(*batch), generator()) == 0


def test_observed_values_influence_the_completion(imputer, batch):
    values, observed = batch
    point = imputer.impute(values, observed).point
    for m in range(4):
        other = torch.where(observed, values, 0.0)
        other[:, m] += STDS[m]
        moved = (imputer.impute(other, observed).point - point) / STDS[:, None, None]
        assert all(moved[:, k][~observed[:, k]].abs().mean() > 1e-3 for k in range(4))


def test_windows_do_not_influence_each_other(imputer, batch):
    """To the bit in a batch of the same size; batches of other sizes round differently."""
    values, observed = batch
    observed = observed.clone()
    observed[0] = False
    observed[1, 2] = False
    estimate_cross_spectra(imputer, *batch)
    together = imputer.prepare(values, observed)
    mean = imputer.sample(together, 0)[0]
    for unchanged in (torch.arange(6) % 2 == 0, torch.arange(6) % 2 == 1):
        x, mask = (torch.where(unchanged[:, None, None, None], t, t.flip(2)) for t in (values, observed))
        prepared, everything = imputer.prepare(x, mask), slice(None)
        assert same_batch(prepared.select(unchanged, everything), together.select(unchanged, everything))
        assert torch.equal(imputer.sample(prepared, 0)[0][unchanged], mean[unchanged])
    for i in range(6):
        single = imputer.prepare(values[i : i + 1], observed[i : i + 1])
        # Conjugate gradients that are stopped early amplify rounding errors.
        for reference, expected in zip(single.references, together.references, strict=True):
            torch.testing.assert_close(reference, expected[i : i + 1], atol=5e-3, rtol=0)
        torch.testing.assert_close(imputer.sample(single, 0)[0], mean[i : i + 1], atol=5e-3, rtol=0)


# Corner cases.


def test_nothing_observed_gives_finite_completions(imputer, batch):
    values, observed = batch
    observed = observed.clone()
    observed[0] = False
    completion = imputer.impute(values, observed, 3, generator())
    assert torch.isfinite(completion.point).all()
    assert torch.isfinite(completion.draws).all()
    assert all((r[0] == 0).all() for r in imputer.prepare(values, observed).references)


def test_one_observed_sample_is_enough(imputer, batch):
    values, _ = batch
    single = torch.zeros_like(batch[1])
    single[:, 1, 4, 2] = True
    values = torch.where(single, MEANS[:, None, None] + 2 * STDS[:, None, None], 0.0)
    estimate_cross_spectra(imputer, *windows(schema(), 40))
    completion = imputer.impute(values, single, 2, generator())
    assert torch.isfinite(completion.draws).all()
    assert torch.equal(completion.draws[:, single], values[single].expand(2, -1))
    references = imputer.prepare(values, single).references
    instant, lines = references.same_instant, references.interpolation
    value = imputer.standardiser(values, single)[0, 1, 4, 2]
    torch.testing.assert_close(lines[:, 1], value.expand_as(lines[:, 1]))
    assert (lines[:, [0, 2, 3]] == 0).all()
    assert (instant[:, :, 4, 2] != 0).all()
    assert (instant[:, :, 3] == 0).all()


@pytest.mark.parametrize("what", ["huge", "one huge sample", "constant", "equal modalities", "tiny"])
def test_extreme_values_give_finite_completions(imputer, batch, what):
    values, observed = batch
    values = values.clone()
    if what == "huge":
        values[0] *= 1e6
    elif what == "one huge sample":
        values[:, 1, 4, 2] = 1e6
    elif what == "constant":
        values[:, 2] = 7.0
    elif what == "equal modalities":
        values[:] = values[:, :1]
    else:
        values[0] = MEANS[:, None, None] + 1e-9 * values[0]
    estimate_cross_spectra(imputer, *batch)
    for conditioning in (observed, observed & (torch.rand(observed.shape, generator=generator(6)) < 0.05)):
        completion = imputer.impute(values, conditioning, 3, generator())
        assert torch.isfinite(completion.point).all() and torch.isfinite(completion.draws).all()
        assert torch.equal(completion.draws[:, conditioning], values[conditioning].expand(3, -1))
