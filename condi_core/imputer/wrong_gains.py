"""How estimates allow for wrong gains, the factors by which a file gives the values of single modalities.

A gain in a file's header can be wrong by any factor, lead by lead, and relations to other leads are then
wrong by the same factor. The amplitude of an observed modality shows whether its gain is plausible. Of a
modality that is missing from a window, only contradictions between the others show that its gain may be
wrong too.
"""

from __future__ import annotations

import torch
from torch import Tensor

from condi_core.imputer.interpolation import covariance_of_observed

MAX_GAIN = 3.0  # largest ratio of a modality's amplitude in a window to the median one that is plausible
GAIN_WEIGHT = 20  # samples that the usual power of a modality counts as, against those of the window
MAX_MISFIT = 2.0  # of a window whose gains are taken to be right; over the population it is 1 on average
MISFIT_EXPONENT = 4  # of the shrinkage by the misfit


def wrong_gains(x: Tensor, observed: Tensor) -> Tensor:
    """Return the factor by which the amplitude of each modality of a window exceeds what is plausible.

    Parameters
    ----------
    x, observed : Tensor (batch, modality, time), standardised

    Returns
    -------
    Tensor (batch, modality, 1), 1 where the amplitude is within `MAX_GAIN` of the median one
    """
    count = observed.sum(2, keepdim=True)
    power = torch.where(observed, x, 0.0).square().sum(2, keepdim=True)
    amplitude = ((power + GAIN_WEIGHT) / (count + GAIN_WEIGHT)).sqrt()
    # Of the modalities that were observed; without any, all amplitudes are 1.
    median = torch.where(count > 0, amplitude, torch.nan).nanmedian(1, keepdim=True).values.nan_to_num(1.0)
    ratio = torch.where(count > 0, amplitude / median, 1.0)
    return ratio / ratio.clamp(1 / MAX_GAIN, MAX_GAIN)


def compute_shrinkage(x: Tensor, observed: Tensor, covariance: Tensor) -> Tensor:
    """Return the factor that shrinks estimates of modalities that are missing from a window towards the mean.

    Where gains are wrong by factors that differ between modalities, observed modalities contradict what
    holds between them at one instant, such as that lead II is the sum of leads I and III. The estimate of a
    missing modality is then wrong by an unknown factor, and on average worse than the mean.

    Parameters
    ----------
    x, observed : Tensor (batch, modality, time), standardised
    covariance : Tensor (modality, modality) of the modalities at one instant

    Returns
    -------
    Tensor (batch, modality, 1), 1 where a modality was observed, or where the misfit is at most `MAX_MISFIT`:
    the squared Mahalanobis distance of what was observed from 0, divided by its sum of squares
    """
    is_missing = ~observed.any(2, keepdim=True)
    if not is_missing.any():
        return torch.ones_like(x[..., :1])
    weight = observed.transpose(1, 2).to(x.dtype)
    y = weight * x.transpose(1, 2)
    scaled = torch.linalg.solve(covariance_of_observed(weight, covariance), y[..., None])
    misfit = (y * scaled.squeeze(-1)).sum((1, 2)) / y.square().sum((1, 2)).clamp(min=1e-9)
    shrinkage = (MAX_MISFIT / misfit.clamp(min=MAX_MISFIT)) ** MISFIT_EXPONENT
    return torch.where(is_missing, shrinkage[:, None, None], 1.0)
