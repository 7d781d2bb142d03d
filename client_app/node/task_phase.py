"""A site's part of phase 2: training and scoring of the task model on completed windows."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
import torch
from torch import Tensor

from client_app.node import completions
from client_app.node.patients import Patients, public_presence
from client_app.node.replicates import draw_deviations
from client_app.node.site import Site
from condi_core.evaluation.replicates import add_up_deviations
from condi_core.evaluation.subgroups import subgroup_shapes, subgroups
from condi_core.imputer.interpolation import interpolate_windows
from condi_core.methods import Method
from condi_core.privacy.gradients import train_steps_privately
from condi_core.privacy.heads import train_heads_alone
from condi_core.protocol import REPLICATES
from condi_core.task.batch import TaskBatch
from condi_core.task.model import TaskModel
from condi_core.task.numbers import NumberStandardiser
from condi_core.training import train_steps
from condi_core.windows import Standardiser, iterate_blocks
from data_partitions.manifest import Split


class TaskWindows:
    """The labelled windows of one split of a site as the task model reads them under one method.

    Parameters
    ----------
    site : Site
    method : Method
    imputer_hash : str
        Hash of the imputer whose completions are read; unused by methods without an imputer.
    split : "train", "val" or "test"
    standardiser : Standardiser, optional
        The standardiser of the task model, which methods that interpolate need.

    Raises
    ------
    CompletionsMissingError
        When the method reads completed windows and the site does not have them.
    """

    def __init__(
        self,
        site: Site,
        method: Method,
        imputer_hash: str,
        split: Split,
        standardiser: Standardiser | None = None,
    ) -> None:
        if method.interpolate and standardiser is None:
            raise ValueError(
                f"method {method.name} interpolates in standardised units: give the standardiser"
            )
        self.site = site
        self.method = method
        self.split = split
        self.standardiser = standardiser
        self.rows = site.labelled_rows(split)
        self.completion = completions.load(site, method, imputer_hash, split) if method.complete else None

    @property
    def draws(self) -> int:
        """Number of completions of each window."""
        return 1 if self.completion is None else self.completion.values.shape[1]

    def read(self, rows: np.ndarray, draw: int | np.ndarray = 0) -> TaskBatch:
        """Read windows to the site's device.

        Parameters
        ----------
        rows : ndarray of int, shape (batch,)
            Rows of the partition that belong to the split.
        draw : int or ndarray of int, shape (batch,)
            Which completion of each window.
        """
        numbers = [self.site.partition.labels[rows], self.site.partition.covariates[rows]]
        labels, covariates = self.site.to_device(*map(torch.from_numpy, numbers))
        if self.completion is not None:
            positions = np.searchsorted(self.rows, rows)
            values = torch.from_numpy(self.completion.values[positions, draw])
            observed = torch.from_numpy(self.completion.observed(positions))
        else:
            values, observed = self.site.read(rows)
        values, observed = self.site.to_device(values, observed)
        if self.completion is not None:
            return TaskBatch(values, observed, torch.ones_like(observed), labels, covariates)
        if self.method.interpolate and self.standardiser is not None:
            values = interpolate_windows(
                self.site.schema, self.standardiser, values, observed, self.method.interpolate
            )
            return TaskBatch(values, observed, torch.ones_like(observed), labels, covariates)
        return TaskBatch(values, observed, observed, labels, covariates)


def compute_standardising_sums(site: Site) -> dict[str, list[list[float]]]:
    """Compute what standardises the numbers that the run's task models read.

    Returns
    -------
    dict
        `label-sums` `(label, 3)` of a regression and `covariate-sums` `(covariate, 3)` of covariates that are
        inputs: count, sum and sum of squares over labelled training windows; empty for other runs, and with
        `privacy.patient-epsilon`, as they have no noise.
    """
    rows, partition = site.labelled_rows("train"), site.partition
    has_sums = site.schema.task_kind.standardises_labels and not site.config.privacy.patient_epsilon
    labels = partition.labels[rows] if has_sums else np.zeros((0, 0))
    covariates = partition.covariates[rows] if site.config.task.covariates else np.zeros((0, 0))
    covariate_sums = NumberStandardiser.sums(covariates)
    for position, numbers in enumerate(covariates.T):
        covariate_sums[position] *= site.are_large_enough([rows[~np.isnan(numbers)]])
    return {
        "label-sums": NumberStandardiser.sums(labels).tolist(),
        "covariate-sums": covariate_sums.tolist(),
    }


def train(windows: TaskWindows, model: TaskModel, seed: int, learning_rate: float, deadline: float) -> dict:
    """Take local steps on the loss of the task; windows are used in turn, each completed by one draw.

    With `privacy.patient-epsilon`, steps sample patients and have noise, and neither depends on the seed.

    Parameters
    ----------
    windows : TaskWindows
    model : TaskModel
        Trained in place.
    seed : int
        Seed of the order of windows and of the draws.
    learning_rate : float
    deadline : float
        When to stop, on the monotonic clock.

    Returns
    -------
    dict
        `loss` (mean), `steps`, `windows` of the site that have labels, and which modalities each window that
        was used had: `present`, bool `(window, modality)`.
    """
    if windows.site.config.privacy.patient_epsilon:
        return _train_privately(windows, model, learning_rate, deadline)
    site, config, rng = windows.site, windows.site.config.task, np.random.default_rng(seed)
    rows = windows.rows
    num_windows = min(config.batch, len(rows)) * config.steps
    order = np.concatenate([rng.permutation(rows) for _ in range(-(-num_windows // len(rows)))])[:num_windows]
    present = np.zeros((len(order), len(site.schema.modalities)), bool)

    def batches() -> Iterator[TaskBatch]:
        for step, step_rows in enumerate(np.split(order, config.steps)):
            batch = windows.read(step_rows, rng.integers(windows.draws, size=len(step_rows)))
            # A modality that was completed is read and trained like one that was observed.
            in_batch = batch.available.flatten(2).any(-1).cpu()
            present[step * len(step_rows) : (step + 1) * len(step_rows)] = in_batch
            yield batch

    model.generator = torch.Generator().manual_seed(seed)
    loss = _training_loss(windows.method, model)
    mean_loss, steps = train_steps(model, loss, batches(), config, learning_rate, deadline)
    used = present[: steps * len(order) // config.steps]
    return {"loss": mean_loss, "steps": steps, "present": used, "windows": len(rows)}


def _training_loss(method: Method, model: TaskModel) -> Callable[[TaskBatch], Tensor]:
    """Return the loss of a batch under a method; its penalty is on the distance from the present weights."""
    penalty = method.penalty
    start = {name: p.detach().clone() for name, p in model.named_parameters()} if penalty else {}

    def loss(batch: TaskBatch) -> Tensor:
        value = model.training_loss(batch)
        return value + penalty(model, start) if penalty else value

    return loss


def _train_privately(windows: TaskWindows, model: TaskModel, learning_rate: float, deadline: float) -> dict:
    """Take the steps of `train` by DP-SGD per patient; losses and which windows were used are withheld."""
    site, config, patients = windows.site, windows.site.config.task, Patients(windows.site, windows.rows)
    rng = np.random.default_rng()

    def batches() -> Iterator[TaskBatch | None]:
        for sampled in patients.sample_steps(config.batch, config.steps):
            rows = patients.choose_rows()[sampled]
            yield windows.read(rows, rng.integers(windows.draws, size=len(rows))) if len(rows) else None

    with train_heads_alone(model, site.schema):
        steps = train_steps_privately(
            model,
            _training_loss(windows.method, model),
            batches(),
            config,
            learning_rate,
            patients.spend_on_steps("task", config.batch, config.steps),
            deadline,
        )
    return {"loss": 0.0, "steps": steps, "present": public_presence(site), "windows": len(windows.rows)}


@torch.no_grad()
def score(
    windows: TaskWindows, model: TaskModel, with_subgroups: bool = False, with_replicates: bool = False
) -> tuple[dict[str, np.ndarray], float, int]:
    """Score the labelled windows whose scores may be disclosed; predictions are averaged over draws.

    Parameters
    ----------
    windows : TaskWindows
    model : TaskModel
    with_subgroups : bool
        Whether to add the sums of the subgroups of covariates that may be disclosed.
    with_replicates : bool
        Whether to add the replicates over patients, for test windows.

    Returns
    -------
    sums : dict
        Sums of the task metrics by name, and `REPLICATES`, `(replicate, column)`.
    loss : float
        Sum of the loss over windows.
    num_windows : int
    """
    site, loss, num_windows = windows.site, 0.0, 0
    scored: list[tuple[Tensor, Tensor]] = []
    groups = subgroups(site.schema) if with_subgroups else []
    shapes = subgroup_shapes(model.kind.sum_shapes(len(site.schema.labels)), groups)
    sums = {name: np.zeros(shape) for name, shape in shapes.items()}
    rows_of_split = site.scorable_labelled_rows(windows.split)
    groups = [group for group in groups if site.may_disclose_subgroups(group.covariate, rows_of_split)]
    for rows in iterate_blocks(rows_of_split):
        outputs = []
        for draw in range(windows.draws):
            batch = windows.read(rows, draw)
            outputs.append(model(batch.values, batch.observed, batch.available, batch.covariates))
        labels = batch.labels  # the same for every draw
        predictions = torch.stack([model.predictions(o) for o in outputs]).mean(0).cpu()
        scored.append((predictions, labels.cpu()))
        for name, added in model.kind.sums(*scored[-1]).items():
            sums[name] += added
        for group in groups:
            members = torch.from_numpy(group.contains(site.partition.covariates[rows]))
            for name, added in model.kind.sums(predictions[members], labels.cpu()[members]).items():
                sums[group.sum_name(name)] += added
        loss += sum(model.loss(o, labels).item() for o in outputs) / len(outputs) * len(rows)
        num_windows += len(rows)
    if with_replicates:
        columns = np.zeros((0, model.kind.reduced_columns(len(site.schema.labels))))
        columns = np.concatenate([columns, *(model.kind.reduced(*block, sums) for block in scored)])
        sums[REPLICATES] = add_up_deviations(draw_deviations(site, rows_of_split), columns)
    return sums, loss, num_windows
