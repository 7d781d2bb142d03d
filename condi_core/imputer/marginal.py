"""The distribution of a single missing sample: median, deviation, weight of the tails, and skew.

A sample is x = median + deviation · (sinh(h z + e) - sinh e) / (h cosh e) with a standard normal z (Jones and
Pewsey 2009). As h goes to 0 it is normal. A larger h makes both tails heavier, and e makes one heavier than
the other; the median stays where it is. z is the sample's normal score. The diffusion models the normal
scores of a window, whose distribution is the same everywhere, and the quantiles are those of this formula.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

MARGINAL_OUTPUTS = 3  # numbers of the network from which deviation, tail and skew follow
INITIAL_LOG_DEVIATION, LOG_DEVIATION_RANGE = -1.5, (-6.0, 3.0)
LOG_DEVIATION_GAIN = (
    3.0  # deviations of estimates differ by orders of magnitude, and few steps must find them
)
INITIAL_TAIL_LOGIT, TAIL_RANGE = -4.0, (0.01, 1.0)  # almost normal at first; above 1 draws would be wild
MAX_SCORE = 8.0  # largest absolute normal score
TRAINED_SCORES = (-1.2816, -0.5244, 0.0, 0.5244, 1.2816)  # normal scores of the 10, 30, 50, 70 and 90 %
OUTLIER_DEVIATION = 3.0  # errors beyond count linearly and not squared, in standard deviations


class Marginal(NamedTuple):
    """Distributions of samples, each a Tensor (batch, modality, patch, sample) in standardised units."""

    median: Tensor
    deviation: Tensor
    tail: Tensor
    skew: Tensor

    @staticmethod
    def bound_shape(outputs: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return deviation, tail and skew from unbounded numbers (output, ...), which start at zero."""
        log_deviation, tail, skew = outputs
        smallest, largest = TAIL_RANGE
        return (
            (LOG_DEVIATION_GAIN * log_deviation + INITIAL_LOG_DEVIATION).clamp(*LOG_DEVIATION_RANGE).exp(),
            smallest + (largest - smallest) * torch.sigmoid(tail + INITIAL_TAIL_LOGIT),
            torch.tanh(skew),
        )

    def quantile(self, z: Tensor) -> Tensor:
        """Return the samples that have the normal scores `z`, with any leading axes."""
        bent = torch.sinh(self.tail * z + self.skew) - torch.sinh(self.skew)
        return self.median + self.deviation * bent / (self.tail * torch.cosh(self.skew))

    def normal_score(self, x: Tensor) -> Tensor:
        """Return the normal scores of samples, the inverse of `quantile`, bounded by `MAX_SCORE`."""
        bent = self.tail * torch.cosh(self.skew) * (x - self.median) / self.deviation
        score = (torch.asinh(bent + torch.sinh(self.skew)) - self.skew) / self.tail
        return score.clamp(-MAX_SCORE, MAX_SCORE)

    def loss(self, x: Tensor) -> Tensor:
        """Compute the loss of each sample.

        It is the quantile loss, which estimates the CRPS, plus half the absolute and a quarter of the squared
        error of the median, plus 0.1 times the negative log-likelihood, which determines the tails and does
        not move the median.

        Parameters
        ----------
        x : Tensor (batch, modality, patch, sample), the true samples
        """
        scores = torch.tensor(TRAINED_SCORES, device=x.device).view(-1, *[1] * x.ndim)
        level = torch.special.ndtr(scores)
        over = x - self.quantile(scores)
        quantile_loss = 2 * torch.maximum(level * over, (level - 1) * over).mean(0)
        error = x - self.median
        squared = F.huber_loss(self.median, x, reduction="none", delta=OUTLIER_DEVIATION)
        fixed = self._replace(median=self.median.detach())
        z = fixed.normal_score(x)
        slope = torch.cosh(self.tail * z + self.skew) / torch.cosh(self.skew)
        likelihood = 0.5 * z.square() + torch.log(self.deviation * slope)
        return quantile_loss + 0.5 * error.abs() + 0.5 * squared + 0.1 * likelihood


def spread_evenly(scores: Tensor) -> Tensor:
    """Replace the normal scores of each sample by evenly spread ones in the same order.

    This is ensemble copula coupling (Schefzik, Thorarinsdottir and Gneiting 2013): the draws say which sample
    is high together with which other one, and few draws have the quantiles of the distribution. A single
    draw stays as it is.

    Parameters
    ----------
    scores : Tensor (draw, ...)
    """
    n = len(scores)
    if n == 1:
        return scores
    level = (torch.arange(n, device=scores.device) + 0.5) / n
    return torch.special.ndtri(level)[scores.argsort(0).argsort(0)]
