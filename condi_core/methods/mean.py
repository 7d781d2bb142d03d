"""The mean of the modality wherever nothing was observed.

It differs from `mask` in modalities that are missing from a window altogether: the task model reads the mean
like a completed modality, whereas under `mask` it ignores the modality. The task model is exchanged and
averaged per modality.
"""

import torch

from condi_core.methods.method import Method

METHOD = Method(
    "mean",
    "mean of the modality",
    label="mean of the modality",
    interpolate=lambda x, observed: torch.zeros_like(x),
)
