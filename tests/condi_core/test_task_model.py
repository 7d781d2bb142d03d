"""The task model: what it must not use, its losses, and its training."""

import pytest
import torch

from condi_core.ownership import ownership
from condi_core.task.model import TaskModel
from condi_core.training import train_steps
from tests.helpers.toy import (
    MEANS,
    STDS,
    corrupt,
    perturb,
    schema,
    standardise,
    task_config,
    windows,
)


def completed(batch) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Values, observed and available of windows in which all but modality 2 was completed."""
    values, observed = batch
    observed = observed.clone()
    observed[:, 2] = False
    available = torch.ones_like(observed)
    available[:, 2] = False
    filled = torch.where(observed, values, MEANS[:, None, None] + STDS[:, None, None])
    return filled, observed, available


def test_logits_do_not_depend_on_unavailable_values(task_model, batch):
    values, observed = batch
    logits = task_model(values, observed, observed)
    assert logits.shape == (6, 3)
    for bad in corrupt(values, ~observed):
        assert torch.equal(task_model(bad, observed, observed), logits)
    filled, observed, available = completed(batch)
    logits = task_model(filled, observed, available)
    for bad in corrupt(filled, ~available):
        assert torch.equal(task_model(bad, observed, available), logits)


def test_gradients_do_not_depend_on_unavailable_values(task_model, batch):
    filled, observed, available = completed(batch)
    labels = torch.eye(3).repeat(2, 1)

    def gradients(values):
        task_model.zero_grad()
        task_model.loss(task_model(values, observed, available), labels).backward()
        return [p.grad.clone() for p in task_model.parameters()]

    expected = gradients(filled)
    for bad in corrupt(filled, ~available):
        assert all(torch.equal(a, b) for a, b in zip(gradients(bad), expected, strict=True))


def test_logits_depend_on_available_values_and_on_the_mask(task_model, batch):
    filled, observed, available = completed(batch)
    logits = task_model(filled, observed, available)
    for m in (0, 1, 3):
        other = filled.clone()
        other[:, m] += 2 * STDS[m]
        assert (task_model(other, observed, available) - logits).abs().max() > 1e-3
        mask = observed.clone()
        mask[:, m] = ~mask[:, m]
        assert (task_model(filled, mask, available) - logits).abs().max() > 1e-3


def test_a_completed_modality_without_observed_samples_counts(task_model, batch):
    values, observed = batch
    observed = observed.clone()
    observed[:, 2] = False
    available = torch.ones_like(observed)
    other = values.clone()
    other[:, 2] = MEANS[2] + STDS[2]
    moved = task_model(other, observed, available) - task_model(values, observed, available)
    assert moved.abs().max() > 1e-3


def test_a_missing_modality_is_ignored(task_model, batch):
    """Its parameters have no influence, and training with other modalities does not change them."""
    filled, observed, available = completed(batch)
    logits = task_model(filled, observed, available)
    task_model.loss(logits, torch.eye(3).repeat(2, 1)).backward()
    state = task_model.state_dict()
    for name, owner in ownership(task_model).items():
        if owner.kind == "shared":
            continue
        parameter, backup = task_model.get_parameter(name), state[name].clone()
        rows = [(2,)] if owner.kind == "modality" else [(2, slice(None)), (slice(None), 2)]
        for row in rows:
            assert (parameter.grad[row] == 0).all(), name
            state[name][row] = 50.0
        assert torch.equal(task_model(filled, observed, available), logits), name
        state[name].copy_(backup)
        state[name][1] += torch.randn_like(state[name][1])  # of a present modality
        assert (task_model(filled, observed, available) - logits).abs().max() > 1e-4, name
        state[name].copy_(backup)


def test_missing_modalities_of_one_window_do_not_matter_to_another(task_model, batch):
    values, observed = batch
    observed = observed.clone()
    observed[0, :3] = False
    observed[1] = False
    together = task_model(values, observed, observed)
    separate = torch.cat(
        [task_model(values[i : i + 1], observed[i : i + 1], observed[i : i + 1]) for i in range(6)]
    )
    torch.testing.assert_close(together, separate, atol=1e-5, rtol=1e-5)


def test_windows_without_available_values_have_equal_finite_logits(task_model, batch):
    values, observed = batch
    nothing = torch.zeros_like(observed)
    logits = task_model(values, nothing, nothing)
    assert torch.isfinite(logits).all()
    torch.testing.assert_close(logits, logits[:1].expand_as(logits))
    for bad in corrupt(values, ~nothing):
        assert torch.equal(task_model(bad, nothing, nothing), logits)


def test_logits_of_present_modalities_add_up(task_model, batch):
    values, observed = batch
    features = task_model.extract_features(values, observed, observed)
    first, third, both = torch.tensor([[[1, 0, 0, 0]], [[0, 0, 1, 0]], [[1, 0, 1, 0]]]).bool().expand(3, 6, 4)
    logits = [task_model.modality_logits(features, present) for present in (first, third, both)]
    torch.testing.assert_close(logits[0] + logits[1], logits[2])
    unit = (features[:, 2] - features[:, 2].mean(1, keepdim=True)) / features[:, 2].std(
        1, correction=0, keepdim=True
    )
    expected = unit @ task_model.modality_heads.weight[2] + task_model.modality_heads.bias[2]
    torch.testing.assert_close(logits[1], expected, atol=1e-3, rtol=1e-3)
    fresh = TaskModel(schema(), task_config())
    assert not fresh.modality_logits(features, both).any()


def test_extreme_values_are_limited(task_model, batch):
    values, observed = batch
    available = torch.ones_like(observed)
    edge = MEANS[:, None, None] + 100 * STDS[:, None, None]
    logits = task_model(torch.where(observed, values, edge), observed, available)
    assert torch.equal(task_model(torch.where(observed, values, 1e30), observed, available), logits)


def test_multi_label_loss_and_probabilities_by_hand(task_model):
    logits, labels = torch.randn(5, 3), (torch.rand(5, 3) < 0.5).float()
    p = 1 / (1 + torch.exp(-logits))
    expected = -(labels * p.log() + (1 - labels) * (1 - p).log()).mean()
    torch.testing.assert_close(task_model.loss(logits, labels), expected)
    torch.testing.assert_close(task_model.predictions(logits), p)


def test_single_label_loss_and_probabilities_by_hand():
    model = TaskModel(schema(task="single-label"), task_config())
    logits, labels = torch.randn(5, 3), torch.eye(3)[[0, 2, 1, 1, 2]]
    p = logits.exp() / logits.exp().sum(1, keepdim=True)
    torch.testing.assert_close(model.loss(logits, labels), -(p.log() * labels).sum(1).mean())
    torch.testing.assert_close(model.predictions(logits), p)


@pytest.mark.parametrize("task", ["single-label", "multi-label"])
def test_it_learns_separable_labels(task):
    """The label says which of three modalities is shifted up; many samples of all of them are missing."""
    of = schema(task=task)
    values, observed = windows(of, 48)
    which = torch.arange(48) % 3
    values[torch.arange(48), which] += 1.5 * STDS[which][:, None, None]
    labels = torch.eye(3)[which]
    if task == "multi-label":
        labels[:, 2] = 1 - labels[:, 2]
    model = TaskModel(of, task_config())
    standardise(model, values, observed)
    data = (torch.where(observed, values, 0.0), observed, observed)

    def loss(batch):
        return model.loss(model(*batch), labels)

    before = loss(data).item()
    train_steps(model, loss, [data] * 60, task_config(), 0.01)
    with torch.no_grad():
        assert loss(data) < 0.2 * before
        p = model.predictions(model(*data))
    if task == "single-label":
        assert (p.argmax(1) == which).float().mean() > 0.95
    assert ((p > 0.5) == (labels > 0.5)).float().mean() > 0.95


def test_padding_does_not_matter_with_any_number_of_blocks():
    of = schema(rates=(5, 1, 3, 5), labels=2)
    values, observed = windows(of, 3)
    for blocks in (1, 3):
        model = perturb(TaskModel(of, task_config(blocks=blocks)))
        standardise(model, values, observed)
        logits = model(values, observed, observed)
        assert logits.shape == (3, 2)
        for bad in corrupt(values, ~observed):
            assert torch.equal(model(bad, observed, observed), logits)
        assert len(model.extractor.blocks) == blocks
