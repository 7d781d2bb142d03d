"""The relation between modalities at one instant, which is exact in some windows."""

import pytest
import torch

from condi_core.imputer.instant_relation import RELATION_CHANNELS, InstantRelation
from condi_core.optimizer import Optimizer
from condi_core.windows import zero_unobserved
from tests.helpers.toy import schema
from tests.helpers.toy_training import generator


def mixed_windows(count: int = 40) -> torch.Tensor:
    """Return windows whose third modality follows from the others: exactly in the first half of them only."""
    random = generator()
    x = torch.randn(count, 3, 12, 1, generator=random)
    noise = torch.randn(count, 12, 1, generator=random)
    noise[: count // 2] = 0
    x[:, 2] = 0.3 * x[:, 0] + 0.7 * x[:, 1] + 0.1 + noise
    return x


@pytest.fixture(scope="module")
def learned():
    """A relation after 120 steps, the windows, and their covariance, which has the noise of the others."""
    x = mixed_windows()
    covariance = x.transpose(0, 1).flatten(1).cov()
    relation, everything = InstantRelation(schema(rates=(1, 1, 1)).rate_groups), torch.ones_like(x).bool()
    optimizer = Optimizer(relation.parameters(), "adamw", 0.01)
    for step in range(120):
        optimizer.learning_rate = 0.01 * (1 - step / 120)
        optimizer.clear_gradients()
        relation(x, everything, x, [covariance]).loss(x).mean().backward()
        optimizer.step()
    return relation, x, covariance


def test_coefficients_are_those_of_the_windows_in_which_the_relation_is_exact(learned):
    relation, x, covariance = learned
    row = relation.by_rate[0](covariance)[2].detach()
    torch.testing.assert_close(row, torch.tensor([0.3, 0.7, 0.1]), atol=0.01, rtol=0)


def test_trust_is_high_in_windows_that_follow_the_relation_and_low_in_others(learned):
    relation, x, covariance = learned
    conditioning = torch.rand(x.shape, generator=generator(2)) < 0.9
    visible = zero_unobserved(x, conditioning)
    predicted = relation(visible, conditioning, torch.zeros_like(x), [covariance])
    sources_known = conditioning[:, :2].all(1)
    trust, error = predicted.trust[:, 2], (predicted.prediction - x)[:, 2].detach().abs()
    assert trust[:20][sources_known[:20]].min() > 0.7
    assert error[:20][sources_known[:20]].max() < 0.05
    assert trust[20:].mean() < 0.15
    assert trust[:20][~sources_known[:20]].max() < 0.4


def test_a_prediction_does_not_depend_on_the_sample_itself_nor_on_other_rates(learned):
    relation = InstantRelation(schema(rates=(2, 1, 2)).rate_groups)
    for coefficients in relation.by_rate:
        torch.nn.init.normal_(coefficients.weight, generator=generator(3))
    covariances = [torch.eye(2), torch.eye(1)]
    x, everything = torch.randn(2, 3, 4, 2, generator=generator(4)), torch.ones(2, 3, 4, 2).bool()
    before = relation(x, everything, x, covariances)
    assert before.channels.shape == (2, 3, 4, RELATION_CHANNELS, 2)
    changed = x.clone()
    changed[:, 0] += 1
    after = relation(changed, everything, changed, covariances)
    assert torch.equal(after.prediction[:, :2], before.prediction[:, :2])
    assert not torch.isclose(after.prediction[:, 2], before.prediction[:, 2]).any()
