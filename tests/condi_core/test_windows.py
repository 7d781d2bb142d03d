"""Schema, the data contract and standardisation."""

import numpy as np
import pytest
import torch
from pydantic import ValidationError

from condi_core.windows import Schema, Standardiser, iterate_blocks, zero_unobserved
from tests.helpers.toy import MEANS, STDS, corrupt, schema, windows


def test_the_schema_has_the_shape_of_the_fastest_modality():
    mixed = schema(rates=(2, 7, 1), patches=9)
    assert mixed.samples == 7
    assert mixed.shape == (3, 9, 7)
    assert mixed.names == ("m0", "m1", "m2")
    assert mixed.patch_weights.tolist() == [1 / 2, 1 / 7, 1]


@pytest.mark.parametrize(
    "changes, message",
    [
        ({"modalities": []}, "modalities\n.*at least 1 item"),
        ({"modalities": [{"name": "m", "unit": "", "samples_per_patch": 0}]}, "greater than or equal to 1"),
        ({"patches": 0}, "patches\n.*greater than or equal to 1"),
        ({"patches": 10**8}, "patches\n.*less than or equal to 10000000"),
        ({"patch_seconds": 0.0}, "patch_seconds\n.*greater than 0"),
        ({"patch_seconds": np.inf}, "patch_seconds\n.*finite"),
    ],
)
def test_a_schema_without_samples_is_refused(changes, message):
    with pytest.raises(ValidationError, match=message):
        Schema.model_validate(schema().model_dump() | changes)


def test_blocks_hold_all_rows_in_order():
    blocks = [block.tolist() for block in iterate_blocks(np.arange(7), 3)]
    assert blocks == [[0, 1, 2], [3, 4, 5], [6]]
    assert list(iterate_blocks(np.arange(0))) == []


def test_unobserved_values_become_zero(batch):
    values, observed = batch
    for bad in corrupt(values, ~observed):
        assert torch.equal(zero_unobserved(bad, observed), torch.where(observed, values, 0.0))


def test_sums_count_observed_samples_only(batch):
    values, observed = batch
    sums = Standardiser.sums(values, observed)
    assert sums.dtype == torch.float64
    for m in range(4):
        x = values[:, m][observed[:, m]].double().numpy()
        np.testing.assert_allclose(sums[m], [x.size, x.sum(), (x**2).sum()], rtol=1e-12)
    for bad in corrupt(values, ~observed):
        assert torch.equal(Standardiser.sums(bad, observed), sums)


def test_sums_of_two_sites_add_to_those_of_their_pool(batch):
    values, observed = batch
    parts = Standardiser.sums(values[:2], observed[:2]) + Standardiser.sums(values[2:], observed[2:])
    torch.testing.assert_close(parts, Standardiser.sums(values, observed), rtol=1e-14, atol=0)


def test_fit_gives_the_mean_and_deviation_of_the_pool(batch):
    values, observed = batch
    standardiser = Standardiser(4)
    standardiser.fit(standardiser.sums(values, observed))
    for m in range(4):
        x = values[:, m][observed[:, m]].double().numpy()
        np.testing.assert_allclose(standardiser.mean[m], x.mean(), rtol=1e-6)
        np.testing.assert_allclose(standardiser.std[m], x.std(), rtol=1e-6)
    assert (standardiser.std / STDS - 1).abs().max() < 0.1
    assert ((standardiser.mean - MEANS) / STDS).abs().max() < 0.3


def test_forward_standardises_and_inverse_undoes_it(batch):
    values, observed = batch
    standardiser = Standardiser(4)
    standardiser.fit(standardiser.sums(values, observed))
    x = standardiser(values, observed)
    for m in range(4):
        standardised = x[:, m][observed[:, m]]
        assert abs(standardised.mean()) < 1e-4
        assert abs(standardised.std(correction=0) - 1) < 1e-4
    assert (x[~observed] == 0).all()
    back = standardiser.inverse(x)
    scale = standardiser.std[:, None, None]
    assert ((back - values) / scale)[observed].abs().max() < 1e-3
    for bad in corrupt(values, ~observed):
        assert torch.equal(standardiser(bad, observed), x)


@pytest.mark.parametrize("constant", [0.0, 80.0, -1e5, 0.1])
def test_constant_and_unobserved_modalities_keep_a_deviation_of_one(constant):
    values, observed = windows(schema(), 4)
    values[:, 1] = torch.where(observed[:, 1], constant, 0.0)
    observed[:, 2] = False
    standardiser = Standardiser(4)
    standardiser.fit(standardiser.sums(values, observed))
    assert standardiser.std[1] == 1
    assert standardiser.mean[1] == pytest.approx(constant)
    assert (standardiser.mean[2], standardiser.std[2]) == (0, 1)
    x = standardiser(values, observed)
    assert torch.isfinite(x).all()
    assert x[:, 1].abs().max() < 1e-2


def test_without_windows_the_standardiser_keeps_its_initial_values():
    standardiser = Standardiser(4)
    standardiser.fit(torch.zeros(4, 3))
    assert standardiser.mean.tolist() == [0] * 4
    assert standardiser.std.tolist() == [1] * 4


@pytest.mark.parametrize(("mean", "deviation"), [(1000, 0.01), (1e6, 0.5), (0, 1e-7), (1e-6, 1e-9), (0, 1e6)])
def test_a_deviation_of_any_size_is_not_lost(mean, deviation):
    generator = torch.Generator().manual_seed(0)
    values = mean + deviation * torch.randn(20, 1, 12, 5, generator=generator)
    standardiser = Standardiser(1)
    standardiser.fit(standardiser.sums(values, torch.ones_like(values, dtype=torch.bool)))
    assert standardiser.std.item() == pytest.approx(values.double().std().item(), rel=1e-3)
