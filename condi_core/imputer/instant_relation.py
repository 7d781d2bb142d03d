"""A sparse linear relation between the modalities at one instant, learned where it is exact.

A mean pressure that a device computes from two others, or a limb lead, follows from them exactly, but often
not in every window: another device measures all three. Least squares, and with it every Gaussian estimate,
smears both kinds into one. Here the coefficients minimise log(1 + |error| / scale), to which large errors
hardly matter, with a penalty on their absolute values, so that samples that follow exactly determine them.
How well the relation has predicted the observed samples of a window tells the network whether to rely on it.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from condi_core.embeddings import merge_groups
from condi_core.windows import RateGroup

RELATION_CHANNELS = 5
RIDGE = 1e-3  # variance that is added to every modality before the first coefficients are computed
COEFFICIENT_GAIN = 4.0  # coefficients have to move further than other weights in the same steps
ERROR_SCALE = 0.05  # error, in standard deviations, beyond which a sample hardly pulls at the coefficients
SPARSITY_WEIGHT = 0.03  # of the absolute values of the coefficients in the loss
SMALL_COEFFICIENT = 0.1  # up to which an unobserved source does not make a prediction less certain
EXACT_ERROR = 0.03  # error, in standard deviations, of a prediction that counts as exact


class RelationPrediction(NamedTuple):
    """What the relation predicts for each sample from the other modalities at its instant.

    Attributes
    ----------
    prediction : Tensor (batch, modality, patch, sample), standardised
    certainty : Tensor of the same shape: 1 where all sources that matter are observed, towards 0 elsewhere
    size : Tensor (modality, 1, 1), sum of the absolute coefficients of each modality
    channels : Tensor (batch, modality, patch, channel, sample): prediction and certainty, how exactly the
        relation predicts the observed samples of the modality in this window, half the logarithm of 1 plus
        the number of samples that show it, and its product with the certainty
    """

    prediction: Tensor
    certainty: Tensor
    size: Tensor
    channels: Tensor

    @property
    def trust(self) -> Tensor:
        """How exact the prediction of a sample is by its certainty and by those of observed samples."""
        return self.channels[:, :, :, -1]

    def loss(self, x: Tensor) -> Tensor:
        """Return the loss of each sample of `x` (batch, modality, patch, sample)."""
        error = torch.log1p((self.prediction - x).abs() / ERROR_SCALE)
        return self.certainty * error + SPARSITY_WEIGHT * self.size


class Coefficients(nn.Module):
    """Weights `(target, source)` of the modalities of one rate; the diagonal has the intercepts."""

    owners = {"weight": "pair"}

    def __init__(self, members: Sequence[int]) -> None:
        super().__init__()
        self.members = tuple(members)
        self.weight = nn.Parameter(torch.zeros(len(members), len(members)))

    def forward(self, covariance: Tensor) -> Tensor:
        """Return the coefficients: at first the regression on all others, given their `covariance`."""
        eye = torch.eye(len(covariance), device=covariance.device)
        precision = torch.linalg.inv(covariance + RIDGE * eye)
        regression = -precision / precision.diagonal()[:, None] * (1 - eye)
        return regression + COEFFICIENT_GAIN * self.weight


class InstantRelation(nn.Module):
    """The relation of all modalities, each to those of the same rate.

    Parameters
    ----------
    groups : the modalities grouped by their rate
    """

    def __init__(self, groups: Sequence[RateGroup]) -> None:
        super().__init__()
        self.groups = tuple(groups)
        self.by_rate = nn.ModuleList(Coefficients(group.members) for group in groups)

    def forward(
        self, x: Tensor, conditioning: Tensor, estimate: Tensor, covariances: Iterable[Tensor]
    ) -> RelationPrediction:
        """Predict every sample from the other modalities at its instant.

        Parameters
        ----------
        x : Tensor (batch, modality, patch, sample), standardised, 0 where not `conditioning`
        conditioning : Tensor of the same shape, bool: the observed samples
        estimate : Tensor of the same shape, which stands for sources that are not observed
        covariances : Tensor (modality, modality) at one instant, of each group
        """
        parts = []
        for group, coefficients, covariance in zip(self.groups, self.by_rate, covariances, strict=True):
            shape = group.select(x).shape
            y, mask, filling = (group.select(t).flatten(2) for t in (x, conditioning, estimate))
            prediction, certainty, size = _predict(y, mask, filling, coefficients(covariance))
            channels = _describe(y, mask, prediction.detach(), certainty)
            grids = [t.view(shape) for t in (prediction, certainty, *channels)]
            beyond = x.shape[-1] - group.samples
            parts.append(
                [F.pad(torch.stack(grids, 3), (0, beyond)), size.view(1, -1, 1).expand(len(x), -1, -1)]
            )
        grid, size = (merge_groups(self.groups, list(part)) for part in zip(*parts, strict=True))
        prediction, certainty = grid[:, :, :, 0], grid[:, :, :, 1].detach()
        return RelationPrediction(prediction, certainty, size[0, :, :, None], grid[:, :, :, 2:].detach())


def _predict(
    x: Tensor, conditioning: Tensor, filling: Tensor, coefficients: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """Return prediction and certainty (batch, modality, time), and the size of the coefficients."""
    off_diagonal = 1 - torch.eye(len(coefficients), device=x.device)
    weights = coefficients * off_diagonal
    sources = torch.where(conditioning, x, filling)
    prediction = weights @ sources + coefficients.diagonal()[:, None]
    matters = (weights.detach().abs() - SMALL_COEFFICIENT).clamp(min=0)
    certainty = torch.exp(-5 * (matters @ (~conditioning).to(x.dtype)))
    return prediction, certainty, coefficients.abs().sum(1)


def _describe(x: Tensor, conditioning: Tensor, prediction: Tensor, certainty: Tensor) -> list[Tensor]:
    """Return the input channels of the network, each (batch, modality, time)."""
    weight = conditioning.to(x.dtype) * certainty
    shown = weight.sum(2, keepdim=True)
    is_exact = torch.exp(-(prediction - x).abs() / EXACT_ERROR)
    reliability = ((weight * is_exact).sum(2, keepdim=True) / (shown + 0.1)).expand_as(x)
    return [
        prediction,
        certainty,
        reliability,
        (shown.log1p() / 2).expand_as(x),
        certainty * reliability,
    ]
