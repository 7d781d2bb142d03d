"""The registry of methods."""

import pytest
import torch

from condi_core.methods import METHODS


def test_names_are_those_of_the_registry():
    assert set(METHODS) >= {"condi", "mask"}
    assert all(name == method.name for name, method in METHODS.items())
    assert all(method.summary for method in METHODS.values())


def test_the_mask_method_completes_nothing():
    assert METHODS["mask"].fill is None


@pytest.mark.parametrize("draws", [0, 1, 3])
def test_condi_fills_and_keeps_what_was_observed(imputer, batch, draws):
    values, observed = batch
    filled = METHODS["condi"].fill(imputer, values, observed, draws, torch.Generator().manual_seed(0))
    assert filled.shape == (max(draws, 1), *values.shape)
    assert torch.equal(filled[:, observed], values[observed].expand(max(draws, 1), -1))
    assert (filled[:, ~observed] != 0).float().mean() > 0.9
    completion = imputer.impute(values, observed, draws, torch.Generator().manual_seed(0))
    assert torch.equal(filled, completion.samples if draws else completion.point[None])
    again = METHODS["condi"].fill(imputer, values, observed, draws, torch.Generator().manual_seed(1))
    assert torch.equal(again, filled) == (draws == 0)
    if draws > 1:
        assert (filled[0] - filled[1])[:, 0][~observed[:, 0]].abs().mean() > 1
