"""What the network sees of the observed samples around each sample."""

import math

import torch

from condi_core.imputer.neighbours import NEIGHBOUR_CHANNELS, describe_neighbours
from tests.helpers.toy import schema


def half_log(samples: int) -> float:
    return math.log(1 + samples) / 2


def test_distances_values_and_mean_of_the_observed_samples():
    of = schema(rates=(2,), patches=3)
    observed = torch.tensor([0, 1, 0, 0, 1, 0]).bool().view(1, 1, 3, 2)
    x = torch.tensor([0.0, 3.0, 0.0, 0.0, 5.0, 0.0]).view(1, 1, 3, 2)
    described = describe_neighbours(of.rate_groups, x, observed)
    assert described.shape == (1, 1, 3, NEIGHBOUR_CHANNELS, 2)
    by_time = described[0, 0].transpose(1, 2).flatten(0, 1)
    expected = torch.tensor(
        [
            [half_log(6), half_log(1), 0.0, 3.0, 4.0, 0.0],
            [half_log(0), half_log(0), 3.0, 3.0, 4.0, 1.0],
            [half_log(1), half_log(2), 3.0, 5.0, 4.0, 0.0],
            [half_log(2), half_log(1), 3.0, 5.0, 4.0, 0.0],
            [half_log(0), half_log(0), 5.0, 5.0, 4.0, 1.0],
            [half_log(1), half_log(6), 5.0, 0.0, 4.0, 0.0],
        ]
    )
    torch.testing.assert_close(by_time, expected)


def test_a_modality_without_observed_samples_has_no_neighbours():
    of = schema(rates=(5, 5))
    shape = (2, *of.shape)
    described = describe_neighbours(of.rate_groups, torch.zeros(shape), torch.zeros(shape).bool())
    assert (described[:, :, :, 2:] == 0).all()
    torch.testing.assert_close(described[:, :, :, :2], torch.full((2, 2, 12, 2, 5), half_log(60)))


def test_modalities_of_other_rates_have_their_own_time_axis():
    of = schema(rates=(1, 5, 5))
    x, observed = torch.randn(2, *of.shape), torch.rand(2, *of.shape) < 0.5
    observed[:, 0, :, 1:] = False
    x = torch.where(observed, x, 0.0)
    together = describe_neighbours(of.rate_groups, x, observed)
    slow = schema(rates=(1,))
    alone = describe_neighbours(slow.rate_groups, x[:, :1, :, :1], observed[:, :1, :, :1])
    torch.testing.assert_close(together[:, :1, ..., :1], alone)
    assert (together[:, 0, ..., 1:] == 0).all()
    fast = schema(rates=(5, 5))
    torch.testing.assert_close(
        together[:, 1:], describe_neighbours(fast.rate_groups, x[:, 1:], observed[:, 1:])
    )
