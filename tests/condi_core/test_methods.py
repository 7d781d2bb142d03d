"""The registry of methods, and how each method completes or classifies a window."""

import subprocess
import sys

import pytest
import torch

from condi_core.imputer.interpolation import interpolate_windows
from condi_core.methods import METHOD_NAMES, METHODS
from condi_core.methods.fedprox import proximal_penalty
from condi_core.task.batch import TaskBatch
from condi_core.task.contrastive import info_nce, modality_contrastive_loss
from tests.helpers.toy import corrupt, is_sample, perturb, schema, standardise, task_config, windows

MODELS = sorted({m.model: name for name, m in METHODS.items()}.values())
COMPLETED = [name for name, m in METHODS.items() if m.complete]
INTERPOLATED = [name for name, m in METHODS.items() if m.interpolate]


def labels(count=6):
    return (torch.rand(count, 3, generator=torch.Generator().manual_seed(3)) < 0.5).float()


@pytest.fixture
def model_of(batch):
    def make(name):
        torch.manual_seed(0)
        model = METHODS[name].model(schema(), task_config())
        standardise(model, *batch)
        return perturb(model).eval()

    return make


def test_names_are_those_of_the_registry():
    assert tuple(METHODS) == METHOD_NAMES
    assert list(METHODS) == [
        "condi", "local", "pooled", "mask", "mean", "last", "linear", "estimate", "fedprox", "fednova",
        "fedadam", "fedmsplit", "fedmac", "mifl", "fedinmm", "pepsy", "pamf",
        "robust",
    ]  # fmt: skip
    assert all(name == method.name for name, method in METHODS.items())
    assert all(0 < len(f"{name}: {method.summary}") <= 37 for name, method in METHODS.items())
    assert all(bool(m.complete) == (m.imputer_training != "none") for m in METHODS.values())


def test_the_mask_method_completes_nothing():
    assert METHODS["mask"].complete is None and METHODS["mask"].interpolate is None


@pytest.mark.parametrize("draws", [0, 1, 3])
def test_condi_completes_windows_and_keeps_observed_samples(imputer, batch, draws):
    values, observed = batch
    filled = METHODS["condi"].complete(imputer, values, observed, draws, torch.Generator().manual_seed(0))
    assert filled.shape == (max(draws, 1), *values.shape)
    assert torch.equal(filled[:, observed], values[observed].expand(max(draws, 1), -1))
    assert (filled[:, ~observed] != 0).float().mean() > 0.9
    completion = imputer.impute(values, observed, draws, torch.Generator().manual_seed(0))
    assert torch.equal(filled, completion.draws if draws else completion.point[None])
    again = METHODS["condi"].complete(imputer, values, observed, draws, torch.Generator().manual_seed(1))
    assert torch.equal(again, filled) == (draws == 0)
    if draws > 1:
        assert (filled[0] - filled[1])[:, 0][~observed[:, 0]].abs().mean() > 1


def test_the_estimate_is_the_closed_form_whatever_the_network_is(imputer, batch):
    values, observed = batch
    complete = METHODS["estimate"].complete
    completed = complete(imputer, values, observed, 0, torch.Generator())[0]
    x = imputer.standardiser(values, observed)
    closed = imputer.standardiser.inverse(imputer.closed_form(x, observed).conditional_mean)
    assert torch.equal(completed, torch.where(observed, values, closed))
    perturbed = complete(perturb(imputer, seed=5), values, observed, 2, torch.Generator())
    assert torch.equal(perturbed, completed.expand(2, *completed.shape))


@pytest.mark.parametrize("name", COMPLETED)
def test_completions_read_observed_samples_only(name, imputer, batch):
    values, observed = batch
    expected = METHODS[name].complete(imputer, values, observed, 1, torch.Generator().manual_seed(0))
    for other in corrupt(values, ~observed):
        completed = METHODS[name].complete(imputer, other, observed, 1, torch.Generator().manual_seed(0))
        assert torch.equal(completed, expected)


@pytest.mark.parametrize("name", INTERPOLATED)
def test_interpolations_follow_the_time_axis_of_each_rate(name, model_of):
    of = schema(rates=(1, 5, 1, 5))
    values, observed = windows(of, 4)
    observed[0, 1], observed[1, 0] = False, False
    standardiser = model_of("mask").standardiser
    interpolated = interpolate_windows(of, standardiser, values, observed, METHODS[name].interpolate)
    assert torch.equal(interpolated[observed], values[observed])
    x = standardiser(interpolated, torch.ones_like(observed))
    assert (x[0, 1].abs() < 1e-4).all() and (x[1, 0].abs() < 1e-4).all()  # nothing observed: the mean
    for other in corrupt(values, ~observed):
        assert torch.equal(
            interpolate_windows(of, standardiser, other, observed, METHODS[name].interpolate), interpolated
        )
    # One patch of a slow modality lies between two observed ones; its padding has no influence.
    observed = torch.zeros_like(observed)
    observed[:, 0, [3, 5], 0] = True
    values = torch.zeros_like(values)
    values[:, 0, 3, 0], values[:, 0, 5, 0] = 1100.0, 1200.0
    interpolated = interpolate_windows(of, standardiser, values, observed, METHODS[name].interpolate)[
        :, 0, :, 0
    ]
    mean = standardiser.mean[0].item()
    expected = {"mean": (mean, mean), "last": (mean, 1100.0), "linear": (1100.0, 1150.0)}[name]
    torch.testing.assert_close(interpolated[:, [2, 4]], torch.tensor(expected).expand(4, 2))


@pytest.mark.parametrize("name", MODELS)
def test_task_models_and_their_losses_read_observed_samples_only(name, model_of, batch):
    model, (values, observed) = model_of(name), batch
    observed = observed.clone()
    observed[0, 1] = observed[1, :2] = observed[2, 3] = False
    logits = model(values, observed, observed)

    def training_loss(values):
        model.generator = torch.Generator().manual_seed(0)
        return model.training_loss(TaskBatch(values, observed, observed, labels()))

    loss = training_loss(values)
    assert torch.isfinite(logits).all() and torch.isfinite(loss)
    for other in corrupt(values, ~observed):
        assert torch.equal(model(other, observed, observed), logits)
        assert torch.equal(training_loss(other), loss)
    moved = torch.where(observed, values + model.standardiser.std[:, None, None], values)
    assert (model(moved, observed, observed) - logits).abs().min() > 0


@pytest.mark.parametrize("name", MODELS)
def test_windows_with_missing_modalities_or_without_samples_train_every_model(name, model_of, batch):
    model, (values, observed) = model_of(name), batch
    observed = observed.clone()
    observed[0], observed[1, 1:] = False, False
    model.training_loss(TaskBatch(values, observed, observed, labels())).backward()
    assert all(torch.isfinite(p.grad).all() for p in model.parameters())
    assert all((p.grad != 0).any() for p in model.parameters() if p.numel() > 32)


@pytest.mark.parametrize("name", MODELS)
def test_a_window_does_not_influence_the_others(name, model_of, batch):
    model, (values, observed) = model_of(name), batch
    together = model(values, observed, observed)
    separate = torch.cat([model(v[None], o[None], o[None]) for v, o in zip(values, observed, strict=True)])
    torch.testing.assert_close(separate, together, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", MODELS)
def test_slow_modalities_and_a_single_window_train_every_model(name):
    of = schema(rates=(1, 5, 1, 5))
    values, observed = windows(of, 1)
    assert not (observed & ~is_sample(of)).any()
    model = METHODS[name].model(of, task_config())
    assert torch.isfinite(model.training_loss(TaskBatch(values, observed, observed, labels(1))))


def test_fedprox_adds_half_mu_times_the_squared_distance(model_of):
    model = model_of("mask")
    start = {n: p.detach().clone() for n, p in model.named_parameters()}
    assert proximal_penalty(model, start, 3.0) == 0
    with torch.no_grad():
        for p in model.parameters():
            p += 0.5
    count = sum(p.numel() for p in model.parameters())
    proximal_penalty(model, start, 3.0).backward()
    assert proximal_penalty(model, start, 3.0).item() == pytest.approx(1.5 * 0.25 * count, rel=1e-4)
    assert all(torch.allclose(p.grad, torch.full_like(p, 1.5)) for p in model.parameters())


def test_info_nce_is_its_formula():
    anchors, positives = torch.eye(2), torch.tensor([[2.0, 0.0], [0.0, 5.0]])
    expected = -torch.log(torch.tensor(1 / (1 + torch.e ** (-1 / 0.5))))
    torch.testing.assert_close(info_nce(anchors, positives, 0.5), expected)
    assert info_nce(anchors, positives.flip(0), 0.5) > info_nce(anchors, positives, 0.5)


def test_modalities_are_contrasted_in_windows_with_at_least_two():
    features = torch.zeros(3, 3, 2)
    features[0, :2], features[1, :2] = torch.tensor([1.0, 0.0]), torch.tensor([0.0, 1.0])
    present = torch.tensor([[1, 1, 0], [1, 1, 0], [1, 0, 0]]).bool()
    expected = info_nce(torch.eye(2), torch.eye(2), 0.5)
    torch.testing.assert_close(modality_contrastive_loss(features, present, 0.5), expected)
    features[:, 2], features[2] = 7.0, 9.0  # missing, and the only modality of its window
    torch.testing.assert_close(modality_contrastive_loss(features, present, 0.5), expected)
    assert modality_contrastive_loss(features[:1], present[:1], 0.5) == 0


def test_names_of_methods_and_metrics_do_not_need_torch():
    code = (
        "import sys; from condi_core import config, evaluation; from condi_core.evaluation import catalogue;"
        "from condi_core.methods import METHOD_NAMES, NAIVE_METHODS; import server_app.study.design;"
        "assert set(NAIVE_METHODS) <= set(METHOD_NAMES) and 'torch' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)
