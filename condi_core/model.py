"""A trained run as one object: complete windows and classify them, from Python."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import ArrayLike
from torch import Tensor

from condi_core.evaluation.imputation import quantiles
from condi_core.imputer.imputer import Imputer
from condi_core.imputer.interpolation import interpolate_windows
from condi_core.methods import METHODS, Method
from condi_core.run_files import RunFileError, read_config, weights_paths
from condi_core.task.model import TaskModel
from condi_core.training import derive_seed
from condi_core.weights_file import WeightsFileError, hash_arrays, load_imputer, load_task
from condi_core.windows import WINDOWS_PER_BLOCK, Schema, zero_unobserved


class Imputation(NamedTuple):
    """Completed windows in source units; observed samples are returned bit for bit."""

    point: np.ndarray  # float32 (batch, modality, patch, sample): the best single value
    samples: np.ndarray  # float32 (draw, batch, modality, patch, sample): equally likely completions

    def quantiles(self, levels: Sequence[float]) -> np.ndarray:
        """`(level, batch, modality, patch, sample)` of the draws; from 19 draws on they reach .05 and .95."""
        if not len(self.samples):
            raise ValueError("there are no draws to take quantiles of: ask for samples")
        return quantiles(torch.from_numpy(self.samples), torch.tensor(levels)).numpy()


class Prediction(NamedTuple):
    """Probabilities of the labels, and what remains open about them because samples are missing."""

    probabilities: np.ndarray  # float32 (batch, label)
    draws: np.ndarray  # float32 (draw, batch, label): the same for equally likely completions

    @property
    def spread(self) -> np.ndarray:
        """Standard deviation over completions `(batch, label)`; NaN without at least two draws."""
        if len(self.draws) < 2:
            return np.full_like(self.probabilities, np.nan)
        return self.draws.std(0, ddof=1)


class Classifier(NamedTuple):
    """A task model, the method whose windows it reads, and the imputer that completes them."""

    method: Method
    task: TaskModel
    imputer: Imputer | None
    draws: int  # that it was trained with; 0: point estimates


class TrainedRun:
    """What a run has learned. `load_model` makes one.

    Windows are arrays `(batch, modality, patch, sample)`, in the order, units and rates of `schema`;
    modalities with fewer samples in a patch than the fastest use the first ones. `observed` is bool; without
    it, what is NaN in `values` is not observed. Raises ValueError when the arrays are of another shape.

    What is returned of a window depends on it and on `seed` alone, up to rounding, not on those beside it.
    """

    def __init__(
        self,
        schema: Schema,
        imputer: Imputer | None,
        hash: str,
        classifiers: dict[str, Classifier],
        method: str,
        device: torch.device,
    ) -> None:
        self.schema, self.imputer, self.hash, self.device = schema, imputer, hash, device
        self.classifiers, self.method = classifiers, method

    def impute(
        self, values: ArrayLike, observed: ArrayLike | None = None, samples: int = 0, seed: int = 0
    ) -> Imputation:
        """Complete windows, with `samples` draws of how they could go on beside the point estimate."""
        if self.imputer is None:
            raise WeightsFileError(
                "this run has no trained imputer: it was made with a method that needs none"
            )
        points, draws, padding = [], [], self._padding.to(self.device)
        for x, seen in self._blocks(values, observed):
            batch = self.imputer.prepare(x, seen)
            mean, drawn = self.imputer.sample(batch, samples, _random(x, seen, seed))
            for found, kept in ((mean, points), (drawn, draws)):
                completed = torch.where(seen, x, self.imputer.standardiser.inverse(found))
                kept.append(completed.masked_fill(padding, torch.nan).cpu().numpy())
        return Imputation(np.concatenate(points), np.concatenate(draws, 1))

    def predict(
        self,
        values: ArrayLike,
        observed: ArrayLike | None = None,
        samples: int = 0,
        seed: int = 0,
        method: str = "",
    ) -> Prediction:
        """Probabilities of `schema.labels`, completed as in the run; `samples` draws give their spread.

        `method` is one of `classifiers`; by default the one the run was about. Labels of a multi-label task
        have a probability each, those of a single-label task add up to 1.
        """
        method = method or self.method
        if method not in self.classifiers:
            has = ", ".join(self.classifiers) or "none"
            raise WeightsFileError(f"this run has no task model '{method}': it has {has}")
        model, told, draws = self.classifiers[method], [], []
        count = samples if model.method.imputer_training == "diffusion" else 0

        with torch.no_grad():
            for x, seen in self._blocks(values, observed):
                told.append(self._classify(model, x, seen, model.draws, seed).mean(0).cpu().numpy())
                empty = torch.zeros(0, *told[-1].shape)
                draws.append(
                    self._classify(model, x, seen, count, seed).cpu().numpy() if count else empty.numpy()
                )
        return Prediction(np.concatenate(told), np.concatenate(draws, 1))

    def _classify(self, model: Classifier, x: Tensor, seen: Tensor, draws: int, seed: int) -> Tensor:
        """Probabilities `(completion, batch, label)`."""
        filled, known = x[None], torch.ones_like(seen)
        if model.method.complete:
            filled = model.method.complete(model.imputer, x, seen, draws, _random(x, seen, seed))
        elif rule := model.method.interpolate:
            filled = interpolate_windows(self.schema, model.task.standardiser, x, seen, rule)[None]
        else:
            known = seen
        return torch.stack([model.task.predictions(model.task(f, seen, known)) for f in filled])

    @property
    def _padding(self) -> Tensor:
        """Where a modality has no sample, as others have more of them in a patch."""
        rates = torch.tensor([m.samples_per_patch for m in self.schema.modalities])
        return (torch.arange(self.schema.samples) >= rates[:, None, None]).expand(self.schema.shape)

    def _blocks(self, values: ArrayLike, observed: ArrayLike | None) -> Iterator[tuple[Tensor, Tensor]]:
        """Checked windows, some at a time."""
        x = np.asarray(values, np.float32)
        seen = ~np.isnan(x) if observed is None else np.asarray(observed)
        if x.ndim != 4 or x.shape[1:] != self.schema.shape or seen.shape != x.shape or not len(x):
            raise ValueError(
                f"expected values and observed of shape (batch, {', '.join(map(str, self.schema.shape))}), "
                f"got {x.shape} and {seen.shape}"
            )
        if seen.dtype != bool:
            raise ValueError(f"observed must be bool, it is {seen.dtype}")
        for start in range(0, len(x), WINDOWS_PER_BLOCK):
            block, there = (torch.tensor(a[start : start + WINDOWS_PER_BLOCK]) for a in (x, seen))
            there &= ~self._padding
            if not torch.isfinite(block[there]).all():
                raise ValueError("an observed value is not finite: mark it as not observed")
            yield zero_unobserved(block, there).to(self.device), there.to(self.device)


def load_model(run: str | Path, device: str | torch.device = "cpu", site: str = "") -> TrainedRun:
    """What the run in that folder has learned; SavedError in one sentence when it cannot be used.

    Reads the files of weights, each checked against its hash, and executes nothing that is in them. Of
    methods that train a model per site those of `site` are opened, and none without it.
    """
    run = Path(run)
    if not run.is_dir():
        raise WeightsFileError(f"there is no run at {run}: give the folder that a run has made")
    imputers: dict[str, Imputer] = {}
    schemas: list[Schema] = []
    for file in _files(run, "imputer", site):
        imputer, schema = load_imputer(file)
        imputers[hash_arrays({name: t.numpy() for name, t in imputer.state_dict().items()})] = imputer.to(
            device
        )
        schemas.append(schema)
    classifiers: dict[str, Classifier] = {}
    for file in _files(run, "task", site):
        task, schema, config, told = load_task(file)
        if told["imputer"] and told["imputer"] not in imputers:
            raise WeightsFileError(
                f"{file} was not trained with the imputer beside it: copy both from one run"
            )
        method, imputer = METHODS[told["method"]], imputers.get(told["imputer"])
        draws = config.completions if method.imputer_training == "diffusion" else 0
        classifiers[method.name] = Classifier(method, task.to(device), imputer, draws)
        schemas.append(schema)
    if not schemas:
        if weights_paths(run, "task-"):
            raise WeightsFileError(
                f"{run} holds models of single sites: say of which site, or give its partition"
            )
        raise WeightsFileError(f"{run} holds no model: give the folder of a run that has come to its end")
    if any(schema != schemas[0] for schema in schemas):
        raise WeightsFileError(f"{run} holds models of different data: copy all from one run")
    method = _method_of(run)
    of_methods = [c for c in (classifiers.get(method), *classifiers.values()) if c]
    # Behind a relation alone there is no trained network.
    trained = [c.imputer for c in of_methods if c.method.imputer_training == "diffusion"]
    imputer = next(iter(trained if classifiers else imputers.values()), None)
    hash_ = next((known for known, other in imputers.items() if other is imputer), "")
    return TrainedRun(schemas[0], imputer, hash_, classifiers, method, torch.device(device))


def _files(run: Path, kind: str, site: str) -> list[Path]:
    """Files such as `imputer.safetensors`, and of those of single sites, `task-local.north.safetensors`, the
    site's.
    """
    return [path for path, of_site in weights_paths(run, kind).items() if of_site in ("", site)]


def _method_of(run: Path) -> str:
    """The method that the run was about."""
    try:
        return read_config(run).method
    except RunFileError:
        return "condi"


def _random(values: Tensor, observed: Tensor, seed: int) -> list[torch.Generator]:
    """A generator per window, from what it holds."""

    def of(x: Tensor, seen: np.ndarray) -> torch.Generator:
        content = x.numpy().tobytes() + np.packbits(seen).tobytes()
        return torch.Generator().manual_seed(derive_seed(seed, hashlib.sha256(content).hexdigest()))

    return [of(x, seen) for x, seen in zip(values.cpu(), observed.cpu().numpy(), strict=True)]
