"""Private training of heads: only they are trained, about a centre that depends on no patient."""

import pytest
import torch

from condi_core.methods import METHODS
from condi_core.privacy.heads import centre_of_noise, train_heads_alone
from tests.helpers.toy import perturb, schema, standardise, task_config, windows

SCHEMA = schema(rates=(5, 5, 1, 5))
HEADS = {"modality_heads.weight", "modality_heads.bias"}


@pytest.fixture(params=["mask", "fedinmm", "fedmsplit"])
def model(request):
    torch.manual_seed(0)
    model = perturb(METHODS[request.param].model(SCHEMA, task_config()))
    standardise(model, *windows(SCHEMA, 6))
    return model.eval()


def outputs(model):
    x, observed = windows(SCHEMA, 6)
    return model.classify_windows(x, observed, observed)


def test_the_heads_alone_are_trained(model):
    before = {name for name, p in model.named_parameters() if p.requires_grad}
    with train_heads_alone(model, SCHEMA):
        outputs(model).sum().backward()
    assert {name for name, p in model.named_parameters() if p.grad is not None} == HEADS
    assert {name for name, p in model.named_parameters() if p.requires_grad} == before


@torch.no_grad()
def test_the_block_does_not_change_what_the_model_computes(model):
    before, weights = outputs(model), {k: v.clone() for k, v in model.state_dict().items()}
    with train_heads_alone(model, SCHEMA):
        torch.testing.assert_close(outputs(model), before, rtol=1e-4, atol=1e-4)
        model.modality_heads.weight.add_(torch.randn_like(model.modality_heads.weight))
        changed = outputs(model)
        assert (changed - before).abs().max() > 1e-3
    torch.testing.assert_close(outputs(model), changed, rtol=1e-4, atol=1e-4)
    assert all(torch.equal(v, weights[k]) for k, v in model.state_dict().items() if k not in HEADS)


@torch.no_grad()
def test_in_the_block_the_heads_read_noise_with_a_mean_of_zero(model):
    assert centre_of_noise(model, SCHEMA).norm() > 0.5
    with train_heads_alone(model, SCHEMA):
        inputs = []
        hook = model.modality_heads.register_forward_hook(lambda _, given, __: inputs.append(given[0]))
        noise = model.standardiser.inverse(
            torch.randn(32, *SCHEMA.shape, generator=torch.Generator().manual_seed(0))
        )
        model.classify_windows(noise, torch.ones_like(noise, dtype=torch.bool), torch.ones_like(noise) > 0)
        hook.remove()
    assert inputs[0].mean(0).abs().max() < 1e-5
