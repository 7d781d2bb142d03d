"""Imputers of other authors, to compare with CondI: SAITS and CSDI from PyPOTS 1.5.

Both see standardised windows with samples as time steps and modalities as features, in pieces of up to 250
steps: attention over the 1000 steps of an ECG is too slow to train on a CPU. They are trained for some
seconds with the missingness that CondI is trained with, instead of single missing samples only. SAITS (Du,
Côté, Liu 2023) has the size of PyPOTS's own example on PhysioNet 2012. CSDI (Tashiro et al. 2021) has two
layers of 32 channels in place of four of 64, so that it learns something in that time; it keeps its 50
diffusion steps.
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

with open(os.devnull, "w") as null, contextlib.redirect_stdout(null):  # PyPOTS prints a banner
    from pypots.imputation import CSDI, SAITS
    from pypots.imputation.csdi.data import DatasetForCSDI
    from pypots.imputation.saits.data import DatasetForSAITS
    from pypots.utils.logging import logger

logger.setLevel("ERROR")
warnings.filterwarnings("ignore", message="enable_nested_tensor")

MAX_PIECE_STEPS = 250
BATCH = 32  # pieces
MODEL_OPTIONS = {"batch_size": BATCH, "epochs": 1, "device": "cpu", "model_saving_strategy": None}


class Peer:
    """A model of PyPOTS with the interface of the other methods of the benchmark."""

    def __init__(self, schema: Schema, standardiser: Standardiser, draws: int) -> None:
        length = schema.patches * schema.samples
        self.steps = max(n for n in range(1, MAX_PIECE_STEPS + 1) if length % n == 0)
        self.windows_at_once = max(1, BATCH * self.steps // length)
        self.shape = schema.shape
        self.standardiser = standardiser
        self.draws = draws
        self.model = self.build(self.steps, len(schema.modalities))

    @property
    def parameters(self) -> int:
        return sum(p.numel() for p in self.model.model.parameters())

    def pieces(self, values: Tensor, conditioning: Tensor) -> Tensor:
        """Cut `(window, modality, patch, sample)` into `(piece, step, modality)`, NaN where unobserved."""
        x = torch.where(conditioning, self.standardiser(values, conditioning), torch.nan)
        return x.flatten(2).mT.reshape(-1, self.steps, self.shape[0])

    def windows(self, pieces: Tensor) -> Tensor:
        """Join pieces to windows."""
        return pieces.reshape(-1, self.shape[1] * self.shape[2], self.shape[0]).mT.unflatten(
            2, self.shape[1:]
        )

    def train(self, batches: Iterator[tuple[Tensor, Tensor, Tensor]], seconds: float) -> float:
        """Take a step for each batch (values, conditioning, target) until `seconds` of CPU time are spent.

        CPU time does not depend on other work on the machine. Returns the CPU time that was spent.
        """
        start = time.process_time()
        while (spent := time.process_time() - start) < seconds:
            values, conditioning, target = next(batches)
            data = {
                "X": self.pieces(values, conditioning),
                "X_ori": self.pieces(values, conditioning | target),
            }
            loader = DataLoader(self.dataset(data), self.model.batch_size, shuffle=True)
            self.model._train_model(loader)  # as `fit`, which would choose the missingness itself
        return spent


class Saits(Peer):
    def build(self, steps: int, features: int) -> SAITS:
        return SAITS(
            steps, features, n_layers=2, d_model=256, n_heads=4, d_k=64, d_v=64, d_ffn=128, dropout=0.1,
            **MODEL_OPTIONS,
        )  # fmt: skip

    def dataset(self, data: dict) -> DatasetForSAITS:
        return DatasetForSAITS(data, return_X_ori=True, return_y=False)

    def __call__(self, values: Tensor, conditioning: Tensor) -> tuple[Tensor, None]:
        """Return point estimates in standardised units, of the shape of `values`."""
        imputed = self.model.impute({"X": self.pieces(values, conditioning)})
        return self.windows(torch.as_tensor(imputed)), None


class Csdi(Peer):
    """Completes one piece of each window only, because each draw takes 50 passes through the network."""

    def build(self, steps: int, features: int) -> CSDI:
        return CSDI(
            steps, features, n_layers=2, n_heads=4, n_channels=32, d_time_embedding=64,
            d_feature_embedding=16, d_diffusion_embedding=64, **MODEL_OPTIONS,
        )  # fmt: skip

    def dataset(self, data: dict) -> DatasetForCSDI:
        return DatasetForCSDI(data, "random", return_X_ori=True)

    def __call__(self, values: Tensor, conditioning: Tensor) -> tuple[Tensor, Tensor]:
        """Return the median and the draws `(draw, ...)` of one piece of each window; the others are NaN."""
        rng = np.random.default_rng(len(values))
        pieces = self.pieces(values, conditioning)
        pieces_per_window = len(pieces) // len(values)
        chosen = torch.arange(len(values)) * pieces_per_window
        chosen += torch.from_numpy(rng.integers(0, pieces_per_window, len(values)))
        imputed = self.model.impute({"X": pieces[chosen]}, n_sampling_times=self.draws)
        draws = torch.full((self.draws, *pieces.shape), torch.nan)
        draws[:, chosen] = torch.as_tensor(imputed).transpose(0, 1)
        draws = torch.stack([self.windows(draw) for draw in draws])
        return median_over_draws(draws), draws
