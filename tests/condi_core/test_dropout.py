"""Dropout of modalities and stretches: how much is lost, and that nothing is gained."""

import pytest
import torch

from condi_core.methods.robust import MAX_RATE, METHOD
from condi_core.task.batch import TaskBatch
from condi_core.task.dropout import drop_modalities, drop_stretches
from tests.helpers.toy import schema, task_config


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def test_modalities_are_dropped_at_the_rate_and_as_wholes():
    observed = torch.rand(2000, 8, 3, 2, generator=generator(1)) < 0.9
    stays = drop_modalities(observed, torch.full((2000,), 0.4), generator())
    whole = stays.flatten(2).any(-1)
    assert torch.equal(stays, observed & whole[:, :, None, None])
    assert whole.float().mean().item() == pytest.approx(0.6 + 0.4**8 / 8, abs=0.01)


def test_a_window_keeps_one_of_its_own_modalities():
    observed = torch.zeros(50, 5, 3, 2, dtype=torch.bool)
    observed[:, 1:3] = True
    observed[0] = False
    stays = drop_modalities(observed, torch.ones(50), generator()).flatten(2).any(-1)
    assert stays[1:].sum(1).eq(1).all() and not stays[0].any()
    assert stays[1:, 1].any() and stays[1:, 2].any()


@pytest.mark.parametrize("rate", [0.0, 0.25, 0.5, 1.0])
def test_a_stretch_is_consecutive_and_has_the_length_of_the_rate(rate):
    observed = torch.ones(300, 3, 12, 2, dtype=torch.bool)
    stays = drop_stretches(observed, torch.full((300,), rate), generator())
    lost = ~stays.all(-1)
    assert torch.equal(lost, ~stays.any(-1)) and (lost.sum(-1) == round(12 * rate)).all()
    changes = (lost[..., 1:] != lost[..., :-1]).sum(-1) + lost[..., 0].int() + lost[..., -1].int()
    assert (changes <= 2).all()
    if rate == 0.25:
        assert torch.allclose(lost[..., 0].float().mean(), torch.tensor(0.1), atol=0.03)  # 10 places


def test_a_robust_model_drops_in_training_only():
    torch.manual_seed(0)
    model = METHOD.model(schema(), task_config())
    observed = torch.ones(3000, 4, 12, 5, dtype=torch.bool)
    model.generator = generator()
    stays = model.drop(observed)
    missing_modalities = (~stays.flatten(2).any(-1)).any(1).float().mean()
    complete = stays.flatten(1).all(1).float().mean()
    lost = 1 - stays.float().mean().item()
    assert 0.2 < missing_modalities < 1 / 3 and 1 / 3 < complete < 0.45
    last_stays = MAX_RATE**4 / 5 / 4  # of four modalities
    assert lost == pytest.approx((MAX_RATE - last_stays) / 3, abs=0.02)
    values, labels = torch.randn(8, 4, 12, 5), torch.ones(8, 3)
    losses = set()
    for _ in range(3):
        losses.add(model.training_loss(TaskBatch(values, observed[:8], observed[:8], labels)).item())
    assert len(losses) == 3
    assert torch.equal(model(values, observed[:8], observed[:8]), model(values, observed[:8], observed[:8]))
