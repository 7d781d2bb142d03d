"""The mean of the modality wherever nothing was observed.

Beside `mask` the difference is in modalities that a window lacks altogether: the task model takes the mean
for known, as it takes a completed modality, where `mask` passes it by. Travels: the task model, averaged per
modality.
"""

import torch

from condi_core.methods.method import Method

METHOD = Method("mean", "mean of the modality", interpolate=lambda x, seen: torch.zeros_like(x))
