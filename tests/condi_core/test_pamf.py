"""PAMF: its sources, its path, and that the task trains what fills in."""

import pytest
import torch

from condi_core.imputer.interpolation import linear_interpolation
from condi_core.methods.pamf import METHOD
from tests.helpers.toy import perturb, schema, standardise, task_config, windows


@pytest.fixture
def model():
    torch.manual_seed(0)
    return perturb(METHOD.model(schema(rates=(5, 5, 1, 5)), task_config())).eval()


@pytest.fixture
def batch():
    values, observed = windows(schema(rates=(5, 5, 1, 5)), 6)
    observed[:, 1] = False
    return values, observed


def test_the_source_within_a_modality_is_its_interpolation_and_of_a_missing_one_a_function_of_the_others(
    model, batch
):
    values, observed = batch
    standardise(model, values, observed)
    x = model.standardiser(values, observed)
    source = model.source(x, observed)
    assert torch.equal(source[observed], x[observed])
    interpolated = linear_interpolation(x[:, [0, 3]].flatten(2), observed[:, [0, 3]].flatten(2))
    torch.testing.assert_close(source[:, [0, 3]].flatten(2), interpolated)
    weights = model.cross_modal(model.source_weights)[0, 1]
    expected = weights[0] * source[:, 0] + weights[3] * source[:, 3] + weights[2] * source[:, 2, :, :1]
    torch.testing.assert_close(source[:, 1], expected)
    assert (source[:, 2, :, 1:] == 0).all()  # no samples of the slow modality


def test_with_the_velocity_of_the_straight_path_the_flow_ends_in_the_data(model, batch, monkeypatch):
    values, observed = batch
    standardise(model, values, observed)
    x = model.standardiser(values, observed)
    data = torch.randn(x.shape, generator=torch.Generator().manual_seed(1))
    source = model.source(x, observed)
    monkeypatch.setattr(model, "predict_velocity", lambda state, observed, t: data - source)
    torch.testing.assert_close(model.complete(x, observed), torch.where(observed, x, data))


def test_the_flow_trains_the_encoder_of_the_classifier(model, batch):
    values, observed = batch
    standardise(model, values, observed)
    model.generator = torch.Generator().manual_seed(0)
    model.flow_loss(values, observed).backward()
    shared = [p for p in model.extractor.parameters() if p is not model.extractor.pool.weight]
    assert sum((p.grad is not None and p.grad.abs().sum() > 0) for p in shared) >= len(shared) - 2
    assert model.source_weights.weight.grad.abs().sum() > 0
    assert all(p.grad is None for p in model.classifier.parameters())


def test_training_lowers_the_error_of_the_flow(model, batch):
    values, observed = batch
    standardise(model, values, observed)
    optimizer = torch.optim.Adam(model.parameters(), 0.01)

    def loss(seed):
        model.generator = torch.Generator().manual_seed(seed)
        return model.flow_loss(values, observed)

    first = sum(loss(seed).item() for seed in range(100, 105))
    for seed in range(25):
        optimizer.zero_grad()
        loss(seed).backward()
        optimizer.step()
    assert sum(loss(seed).item() for seed in range(100, 105)) < 0.6 * first
