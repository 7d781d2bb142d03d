"""A site's part of phase 2: training and scoring of the task model on completed windows."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch
from torch import Tensor

from client_app.node import completions
from client_app.node.imputer_phase import blocks
from client_app.node.site import Site
from condi_core.imputer.interpolation import interpolated
from condi_core.methods import Method
from condi_core.task.model import TaskModel
from condi_core.training import train_steps
from condi_core.windows import Standardiser


class TaskWindows:
    """What the task model reads of a split of a site under one method."""

    def __init__(
        self,
        site: Site,
        method: Method,
        imputer_hash: str,
        split: str,
        standardiser: Standardiser | None = None,
    ) -> None:
        """The `standardiser` is that of the task model; methods that interpolate need it."""
        self.site, self.method, self.split, self.standardiser = site, method, split, standardiser
        self.rows = site.partition.rows(split)
        self.filled = completions.load(site, method, imputer_hash, split) if method.fill else None

    @property
    def draws(self) -> int:
        return 1 if self.filled is None else self.filled.shape[1]

    def read(self, rows: np.ndarray, draw: int | np.ndarray = 0) -> list[Tensor]:
        """Values, observed, known `(batch, modality, patch, sample)` and labels `(batch, label)`.

        `rows` of the partition, of the split.
        """
        values, observed = self.site.to_device(*self.site.read(rows))
        known = observed
        if self.filled is not None:
            values = torch.from_numpy(self.filled[np.searchsorted(self.rows, rows), draw])
            known = torch.ones_like(observed)
        elif self.method.interpolate:
            values = interpolated(
                self.site.schema, self.standardiser, values, observed, self.method.interpolate
            )
            known = torch.ones_like(observed)
        labels = torch.from_numpy(self.site.partition.labels[rows])
        return self.site.to_device(values, observed, known, labels)


def train(windows: TaskWindows, model: TaskModel, seed: int, learning_rate: float, deadline: float) -> dict:
    """Local steps of the classification loss; each window in turn, completed by one of its draws."""
    site, config, rng = windows.site, windows.site.config.task, np.random.default_rng(seed)
    rows = windows.rows
    wanted = min(config.batch, len(rows)) * config.steps
    order = np.concatenate([rng.permutation(rows) for _ in range(-(-wanted // len(rows)))])[:wanted]
    present = np.zeros((len(order), len(site.schema.modalities)), bool)

    def batches() -> Iterator[list[Tensor]]:
        for step, picked in enumerate(np.split(order, config.steps)):
            batch = windows.read(picked, rng.integers(windows.draws, size=len(picked)))
            # A modality that was completed is read and trained like one that was observed.
            present[step * len(picked) : (step + 1) * len(picked)] = batch[2].flatten(2).any(-1).cpu()
            yield batch

    penalty = windows.method.penalty
    start = {name: p.detach().clone() for name, p in model.named_parameters()} if penalty else {}

    def loss(batch: list[Tensor]) -> Tensor:
        value = model.objective(*batch)
        return value + penalty(model, start) if penalty else value

    mean, steps = train_steps(model, loss, batches(), config, learning_rate, deadline)
    used = present[: steps * len(order) // config.steps]
    return {"loss": mean, "steps": steps, "present": used, "windows": len(rows)}


@torch.no_grad()
def score(windows: TaskWindows, model: TaskModel) -> tuple[dict[str, np.ndarray], float, int]:
    """Sums of the task metrics by name, sum of the loss, and the number of windows; draws are averaged."""
    site, loss, count = windows.site, 0.0, 0
    shapes = model.kind.sum_shapes(len(site.schema.labels))
    sums = {name: np.zeros(shape) for name, shape in shapes.items()}
    for rows in blocks(site.scored(windows.split)):
        outputs = []
        for draw in range(windows.draws):
            *inputs, labels = windows.read(rows, draw)
            outputs.append(model(*inputs))
        predictions = torch.stack([model.predictions(o) for o in outputs]).mean(0).cpu()
        for name, added in model.kind.sums(predictions, labels.cpu()).items():
            sums[name] += added
        loss += sum(model.loss(o, labels).item() for o in outputs) / len(outputs) * len(rows)
        count += len(rows)
    return sums, loss, count
