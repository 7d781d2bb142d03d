"""Imputers of others beside CondI: SAITS and CSDI as in PyPOTS 1.5, which is imported here.

Both see standardised windows with all samples as time steps and modalities as features, in pieces of up to
250 steps: attention over the 1000 steps of an ECG is more than a processor can train. They are trained for
some seconds on the holes that CondI is trained on, rather than on scattered ones alone. SAITS (Du, Côté, Liu
2023) has the size of PyPOTS's own example on PhysioNet 2012, CSDI (Tashiro et al. 2021) two
layers of 32 channels in place of four of 64, as it is to learn something in that time; its 50 steps stay.
"""

from __future__ import annotations

import contextlib
import os
import time
import warnings
from collections.abc import Iterator

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader

from condi_core.imputer.imputer import median_over_draws
from condi_core.windows import Schema, Standardiser

with open(os.devnull, "w") as nowhere, contextlib.redirect_stdout(nowhere):  # its banner
    from pypots.imputation import CSDI, SAITS
    from pypots.imputation.csdi.data import DatasetForCSDI
    from pypots.imputation.saits.data import DatasetForSAITS
    from pypots.utils.logging import logger

logger.setLevel("ERROR")
warnings.filterwarnings("ignore", message="enable_nested_tensor")

STEPS = 250  # at most, of a piece
BATCH = 32  # pieces
COMMON = {"batch_size": BATCH, "epochs": 1, "device": "cpu", "model_saving_strategy": None}


class Peer:
    """A model of PyPOTS that completes windows as the other methods of the benchmark do."""

    def __init__(self, schema: Schema, standardiser: Standardiser, draws: int) -> None:
        length = schema.patches * schema.samples
        self.steps = max(n for n in range(1, STEPS + 1) if length % n == 0)
        self.windows_at_once = max(1, BATCH * self.steps // length)
        self.shape, self.standardiser, self.draws = schema.shape, standardiser, draws
        self.model = self.build(self.steps, len(schema.modalities))

    @property
    def parameters(self) -> int:
        return sum(p.numel() for p in self.model.model.parameters())

    def pieces(self, values: Tensor, seen: Tensor) -> Tensor:
        """Pieces `(piece, step, modality)` of `(window, modality, patch, sample)`, NaN where not `seen`."""
        x = torch.where(seen, self.standardiser(values, seen), torch.nan)
        return x.flatten(2).mT.reshape(-1, self.steps, self.shape[0])

    def windows(self, pieces: Tensor) -> Tensor:
        """The windows of which these are the pieces."""
        return pieces.reshape(-1, self.shape[1] * self.shape[2], self.shape[0]).mT.unflatten(
            2, self.shape[1:]
        )

    def train(self, batches: Iterator[tuple[Tensor, Tensor, Tensor]], seconds: float) -> float:
        """A step for each batch of windows (values, seen, hidden from the model) until the time is spent.

        That of the processor, so that other work on the machine takes nothing away. Returns what was spent.
        """
        start = time.process_time()
        while (spent := time.process_time() - start) < seconds:
            values, seen, target = next(batches)
            data = {"X": self.pieces(values, seen), "X_ori": self.pieces(values, seen | target)}
            loader = DataLoader(self.dataset(data), self.model.batch_size, shuffle=True)
            self.model._train_model(loader)  # what `fit` does, but for holes of its own choice
        return spent


class Saits(Peer):
    def build(self, steps: int, features: int) -> SAITS:
        return SAITS(
            steps, features, n_layers=2, d_model=256, n_heads=4, d_k=64, d_v=64, d_ffn=128, dropout=0.1,
            **COMMON,
        )  # fmt: skip

    def dataset(self, data: dict) -> DatasetForSAITS:
        return DatasetForSAITS(data, return_X_ori=True, return_y=False)

    def __call__(self, values: Tensor, seen: Tensor) -> tuple[Tensor, None]:
        """Point estimates in standardised units, of the shape of `values`."""
        return self.windows(torch.as_tensor(self.model.impute({"X": self.pieces(values, seen)}))), None


class Csdi(Peer):
    """Completes one piece of each window, as each draw takes 50 passes through the network."""

    def build(self, steps: int, features: int) -> CSDI:
        return CSDI(
            steps, features, n_layers=2, n_heads=4, n_channels=32, d_time_embedding=64,
            d_feature_embedding=16, d_diffusion_embedding=64, **COMMON,
        )  # fmt: skip

    def dataset(self, data: dict) -> DatasetForCSDI:
        return DatasetForCSDI(data, "random", return_X_ori=True)

    def __call__(self, values: Tensor, seen: Tensor) -> tuple[Tensor, Tensor]:
        """Median, and draws with an axis in front, of one piece of each window; the others stay NaN."""
        rng = np.random.default_rng(len(values))
        pieces = self.pieces(values, seen)
        each = len(pieces) // len(values)
        chosen = torch.arange(len(values)) * each + torch.from_numpy(rng.integers(0, each, len(values)))
        found = self.model.impute({"X": pieces[chosen]}, n_sampling_times=self.draws)
        drawn = torch.full((self.draws, *pieces.shape), torch.nan)
        drawn[:, chosen] = torch.as_tensor(found).transpose(0, 1)
        drawn = torch.stack([self.windows(draw) for draw in drawn])
        return median_over_draws(drawn), drawn
