"""A trained run as one object: complete windows and classify them, from Python."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import ArrayLike
from torch import Tensor

from condi_core.imputer.imputer import DiffusionImputer
from condi_core.imputer.interpolation import interpolate_windows
from condi_core.methods import Method
from condi_core.outputs import Imputation, Prediction, require_samples
from condi_core.task.model import TaskModel
from condi_core.training import derive_seed
from condi_core.weights_file import WeightsFileError
from condi_core.window_arrays import WindowArrays, read_floats, read_windows
from condi_core.windows import WINDOWS_PER_BLOCK, Schema, zero_unobserved


class Classifier(NamedTuple):
    """A task model with all that it needs to read windows.

    Attributes
    ----------
    method : whose windows the model reads
    task : the model
    imputer : completes the windows; None where the method works without an imputer
    completions : completions per window that the model was trained on; 0: point estimates
    """

    method: Method
    task: TaskModel
    imputer: DiffusionImputer | None
    completions: int


class TrainedRun:
    """What a run has trained. `condi_core.loading.load_model` makes one from its files.

    Windows are arrays (channel, time) for one window, (n, channel, time), or (batch, modality, patch, sample)
    in the order, units and rates of `schema`; results have the shape of what was given. A modality with fewer
    samples in a patch than the fastest one uses the first of them. `observed` is bool. Without it, NaN in
    `values` marks what was not observed, and so does the mask of a masked array. Up to rounding, the result
    for a window depends only on this window and on `seed`, and not on the other windows of the batch.
    Observed samples outside the plausible range of their modality count as not observed.

    Attributes
    ----------
    schema : modalities, patches and labels of the windows
    imputer : the trained imputer; None where no method of the run has one
    imputer_hash : hash of its weights, or ""
    classifiers : task models by the name of their method
    method : name of the method that the run was about
    device : where the models are, and where windows are moved to
    """

    def __init__(
        self,
        schema: Schema,
        imputer: DiffusionImputer | None,
        imputer_hash: str,
        classifiers: dict[str, Classifier],
        method: str,
        device: torch.device,
    ) -> None:
        self.schema = schema
        self.imputer = imputer
        self.imputer_hash = imputer_hash
        self.classifiers = classifiers
        self.method = method
        self.device = device

    def __repr__(self) -> str:
        channels, patches, samples = self.schema.shape
        models = ["imputer"] if self.imputer else []
        if self.classifiers:
            models.append(f"classifier{'s' * (len(self.classifiers) > 1)} {' and '.join(self.classifiers)}")
        return (
            f"<TrainedRun of {self.method} on {self.schema.dataset}: {', '.join(models)}, "
            f"windows ({channels}, {patches * samples}) of (channel, time)>"
        )

    def impute(
        self, values: ArrayLike, observed: ArrayLike | None = None, samples: int = 0, seed: int = 0
    ) -> Imputation:
        """Complete windows, within the plausible ranges of the modalities.

        Parameters
        ----------
        values : windows in one of the three shapes, in source units
        observed : bool, of the same shape
        samples : number of draws in addition to the point estimate
        seed : of the draws

        Raises
        ------
        ValueError
            The arrays have another shape or type, an observed value is not finite, or `samples` is negative.
        WeightsFileError
            The run has no trained imputer.
        """
        imputer = self.imputer
        if imputer is None:
            raise WeightsFileError(
                "this run has no trained imputer: choose a run with a method that trains one, such as condi"
            )
        require_samples(samples)
        windows = read_windows(self.schema, values, observed)
        points, draws, padding = [], [], self._padding.to(self.device)
        low, high = (limit.to(self.device) for limit in self._limits)
        dropped = np.zeros(len(self.schema.modalities), int)

        def complete(x: Tensor, observed: Tensor, standardised: Tensor) -> np.ndarray:
            estimate = imputer.standardiser.inverse(standardised).clamp(low, high)
            completed = torch.where(observed, x, estimate)
            return completed.masked_fill(padding, torch.nan).cpu().numpy()

        for x, mask, outside in self._blocks(windows):
            dropped += outside
            point, sampled = imputer.sample(imputer.prepare(x, mask), samples, _generators(x, mask, seed))
            points.append(complete(x, mask, point))
            draws.append(complete(x, mask, sampled))
        median = windows.restore_shape(np.concatenate(points))
        return Imputation(median, windows.restore_shape(np.concatenate(draws, 1)), dropped)

    def predict(
        self,
        values: ArrayLike,
        observed: ArrayLike | None = None,
        samples: int = 0,
        seed: int = 0,
        method: str = "",
        covariates: ArrayLike | None = None,
    ) -> Prediction:
        """Predict `schema.labels` from windows that are completed as in the run; see `Prediction`.

        In a multi-label task each label has a probability; those of exclusive labels add up to 1.

        Parameters
        ----------
        values, observed, seed : as in `impute`
        samples : number of completions whose predictions are returned as draws
        method : one of `classifiers`; by default the one that the run was about
        covariates : (batch, covariate) in the order of the schema, a category as its position, NaN where not
            recorded, or (covariate,) for one window; by default nothing is recorded. Models that do not read
            covariates ignore them.

        Raises
        ------
        ValueError
            The arrays have another shape or type, an observed value is not finite, or `samples` is negative.
        WeightsFileError
            The run has no task model of the method.
        """
        classifier = self.find_classifier(method)
        require_samples(samples)
        windows = read_windows(self.schema, values, observed)
        recorded = self._covariate_blocks(covariates, windows)
        num_draws = samples if classifier.method.imputer_training == "diffusion" else 0
        predictions, draws = [], []
        dropped = np.zeros(len(self.schema.modalities), int)
        with torch.no_grad():
            blocks = zip(self._blocks(windows), recorded, strict=True)
            for (x, mask, outside), numbers in blocks:
                dropped += outside
                completed = self._classify(classifier, x, mask, numbers, classifier.completions, seed)
                predictions.append(completed.mean(0).cpu().numpy())
                if num_draws:
                    drawn = self._classify(classifier, x, mask, numbers, num_draws, seed)
                    draws.append(drawn.cpu().numpy())
                else:
                    draws.append(np.zeros((0, *predictions[-1].shape), np.float32))
        predicted = windows.drop_batch(np.concatenate(predictions))
        return Prediction(predicted, windows.drop_batch(np.concatenate(draws, 1)), dropped)

    def find_classifier(self, method: str = "") -> Classifier:
        """Return the task model of a method, by default of the one that the run was about.

        Raises
        ------
        WeightsFileError
            The run has no task, or no task model of the method.
        """
        method = method or self.method
        if not self.schema.labels:
            raise WeightsFileError(
                "this run has no task, because its data have no labels: it completes windows, and predicts "
                "nothing"
            )
        if method not in self.classifiers:
            names = ", ".join(self.classifiers) or "none"
            raise WeightsFileError(f"this run has no task model '{method}': choose from {names}")
        return self.classifiers[method]

    def _classify(
        self,
        classifier: Classifier,
        x: Tensor,
        observed: Tensor,
        covariates: Tensor,
        draws: int,
        seed: int,
    ) -> Tensor:
        """Return predictions (completion, batch, column)."""
        method, task, imputer = classifier.method, classifier.task, classifier.imputer
        completions, known = x[None], torch.ones_like(observed)
        if method.complete and imputer:  # a method that completes always has one
            completions = method.complete(imputer, x, observed, draws, _generators(x, observed, seed))
        elif method.interpolate:
            rule = method.interpolate
            completions = interpolate_windows(self.schema, task.standardiser, x, observed, rule)[None]
        else:
            known = observed
        outputs = (task(filled, observed, known, covariates) for filled in completions)
        return torch.stack([task.predictions(output) for output in outputs])

    @property
    def _padding(self) -> Tensor:
        """Mask of positions without a sample, in modalities that are slower than the fastest one."""
        rates = torch.tensor([m.samples_per_patch for m in self.schema.modalities])
        return (torch.arange(self.schema.samples) >= rates[:, None, None]).expand(self.schema.shape)

    @property
    def _limits(self) -> tuple[Tensor, Tensor]:
        """Plausible range of each modality, both ends (modality, 1, 1)."""
        ranges = [m.range or (-torch.inf, torch.inf) for m in self.schema.modalities]
        low, high = torch.tensor(ranges)[:, :, None, None].unbind(1)
        return low, high

    def _covariate_blocks(self, covariates: ArrayLike | None, windows: WindowArrays) -> list[Tensor]:
        """Check covariates, and return those of as many windows at a time as `_blocks` yields."""
        shape = (len(windows.values), len(self.schema.covariates))
        numbers = np.full(shape, np.nan, np.float32)
        if covariates is not None:
            numbers = read_floats(covariates, "covariates").astype(np.float32)
            numbers = numbers[None] if windows.is_single and numbers.ndim == 1 else numbers
        if numbers.shape != shape:
            raise ValueError(f"expected covariates of shape {shape}, got {numbers.shape}")
        return list(torch.tensor(numbers).to(self.device).split(WINDOWS_PER_BLOCK))

    def _blocks(self, windows: WindowArrays) -> Iterator[tuple[Tensor, Tensor, np.ndarray]]:
        """Yield values, masks, and counts of dropped samples, of a few windows at a time."""
        low, high = self._limits
        for start in range(0, len(windows.values), WINDOWS_PER_BLOCK):
            arrays = (windows.values, windows.observed)
            block, mask = (torch.tensor(a[start : start + WINDOWS_PER_BLOCK]) for a in arrays)
            mask &= ~self._padding
            if not torch.isfinite(block[mask]).all():
                raise ValueError("an observed value is not finite: mark it as not observed")
            outside = mask & ((block < low) | (block > high))
            mask &= ~outside
            dropped = outside.sum((0, 2, 3)).numpy()
            yield zero_unobserved(block, mask).to(self.device), mask.to(self.device), dropped


def _generators(values: Tensor, observed: Tensor, seed: int) -> list[torch.Generator]:
    """Make a generator per window, seeded by the content of the window."""

    def generator(x: Tensor, mask: np.ndarray) -> torch.Generator:
        content = x.numpy().tobytes() + np.packbits(mask).tobytes()
        return torch.Generator().manual_seed(derive_seed(seed, hashlib.sha256(content).hexdigest()))

    return [generator(x, mask) for x, mask in zip(values.cpu(), observed.cpu().numpy(), strict=True)]
