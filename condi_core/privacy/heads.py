"""Private training of a task model: of its linear heads alone, on features of the initial weights.

The noise of a step is in each trained weight, and with a few hundred patients it hides what the other layers
would learn (Tramèr and Boneh 2021, arXiv:2011.11660). Features of initial weights depend on no patient. Most
of a feature vector is the same for all patients. A centre that depends on no patient either is therefore
subtracted, so that clipped gradients keep what patients differ in.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from condi_core.task.model import TaskModel
from condi_core.windows import Schema

NOISE_WINDOWS = 32  # whose features give the centre


@contextmanager
def train_heads_alone(model: TaskModel, schema: Schema) -> Iterator[None]:
    """Freeze all weights but those of the heads, and centre what the heads read, until the block ends.

    The function that the model computes is the same before, in and after the block; the biases change with
    the centre, so that models with and without it can be averaged.

    Parameters
    ----------
    model : its heads may be trained in the block
    schema : of its windows
    """
    heads = model.modality_heads
    centre = centre_of_noise(model, schema)
    frozen = [p for p in model.parameters() if p.requires_grad and p not in set(heads.parameters())]

    def subtract_centre(module: nn.Module, inputs: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        return (inputs[0] - centre[:, None],)

    for parameter in frozen:
        parameter.requires_grad_(False)
    heads.bias.data += torch.einsum("mi,mio->mo", centre, heads.weight.data)
    hook = heads.register_forward_pre_hook(subtract_centre)
    try:
        yield
    finally:
        hook.remove()
        heads.bias.data -= torch.einsum("mi,mio->mo", centre, heads.weight.data)
        for parameter in frozen:
            parameter.requires_grad_(True)


@torch.no_grad()
def centre_of_noise(model: TaskModel, schema: Schema) -> Tensor:
    """Return the mean (modality, width) of what the heads read of complete windows of white noise."""
    inputs: list[Tensor] = []

    def keep_inputs(module: nn.Module, arguments: tuple[Any, ...]) -> None:
        inputs.append(arguments[0])

    device = model.modality_heads.weight.device
    noise = torch.randn(NOISE_WINDOWS, *schema.shape, generator=torch.Generator().manual_seed(0)).to(device)
    values = model.standardiser.inverse(noise)
    everywhere = torch.ones_like(noise, dtype=torch.bool)
    hook = model.modality_heads.register_forward_pre_hook(keep_inputs)
    try:
        model.classify_windows(values, everywhere, everywhere)
    finally:
        hook.remove()
    return inputs[0].mean(0)[:, 0]
