"""Numbers of windows other than their samples: labels of a regression, and covariates."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn

from condi_core.windows import Schema, mean_and_std


class NumberStandardiser(nn.Module):
    """Mean and standard deviation of each column of numbers, from sums that sites add up.

    Both are buffers, so that they are saved and sent with the model.

    Parameters
    ----------
    columns : number of columns
    """

    mean: Tensor
    std: Tensor

    def __init__(self, columns: int) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros(columns))
        self.register_buffer("std", torch.ones(columns))

    @staticmethod
    def sums(numbers: np.ndarray) -> np.ndarray:
        """Compute the sums that `fit` needs.

        Parameters
        ----------
        numbers : (window, column), NaN where there is none

        Returns
        -------
        float64 (column, 3): count, sum and sum of squares of the numbers that are not NaN
        """
        known = ~np.isnan(numbers)
        x = np.where(known, numbers, 0).astype(np.float64)
        return np.stack([known.sum(0), x.sum(0), (x * x).sum(0)], 1).astype(np.float64)

    def fit(self, sums: Tensor) -> None:
        """Set mean and standard deviation from sums (column, 3), as from `sums`, added over sites."""
        mean, std = mean_and_std(sums)
        self.mean.copy_(mean)
        self.std.copy_(std)

    def forward(self, numbers: Tensor) -> Tensor:
        """Standardise numbers (batch, column); NaN stays NaN."""
        return (numbers - self.mean) / self.std

    def inverse(self, standardised: Tensor) -> Tensor:
        """Convert standardised numbers (..., column) back to their units."""
        return standardised * self.std + self.mean


class CovariateHead(nn.Module):
    """What covariates add to the outputs of a task model; nothing before training.

    It reads standardised numbers, one-hot categories, and which covariates are recorded.

    Parameters
    ----------
    schema : of the windows
    width : of the hidden layer
    outputs : number of outputs of the task model
    """

    def __init__(self, schema: Schema, width: int, outputs: int) -> None:
        super().__init__()
        self.num_categories = [len(covariate.categories) for covariate in schema.covariates]
        self.standardiser = NumberStandardiser(len(schema.covariates))
        inputs = sum(1 + max(categories, 1) for categories in self.num_categories)
        self.hidden = nn.Linear(inputs, width)
        self.output = nn.Linear(width, outputs)
        nn.init.zeros_(self.output.weight)
        nn.init.zeros_(self.output.bias)

    def fit(self, sums: Tensor) -> None:
        """Standardise numbers by sums (covariate, 3) that were added over sites; categories as they are."""
        is_number = torch.tensor([not categories for categories in self.num_categories])
        self.standardiser.fit(sums * is_number[:, None])

    def forward(self, covariates: Tensor) -> Tensor:
        """Return what is added to outputs (batch, output); `covariates` (batch, covariate) may have NaN."""
        recorded = ~torch.isnan(covariates)
        numbers = torch.where(recorded, self.standardiser(covariates), 0.0).clamp(-30, 30)
        columns = [recorded.to(numbers.dtype)]
        for position, categories in enumerate(self.num_categories):
            if categories:
                steps = torch.arange(categories, device=covariates.device)
                columns.append((covariates[:, position, None] == steps).to(numbers.dtype))
            else:
                columns.append(numbers[:, position, None])
        return self.output(nn.functional.gelu(self.hidden(torch.cat(columns, 1))))
