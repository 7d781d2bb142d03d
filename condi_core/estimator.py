"""Imputation of time series with the conventions of scikit-learn, on the machine of the caller."""

from __future__ import annotations

import inspect
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pandas as pd
import torch

from condi_core.estimator_input import EstimatorInput, read_input
from condi_core.estimator_settings import (
    make_schema,
    read_parameters,
    read_settings,
    read_windows_of,
    write_parameters,
)
from condi_core.model import TrainedRun
from condi_core.outputs import read_levels, require_samples
from condi_core.settings_text import suggest_name
from condi_core.single_site import ArrayWindows, format_round, train_single_site
from condi_core.weights_file import (
    hash_arrays,
    load_imputer,
    read_weights,
    require_compatible,
    state_arrays,
    weights_to_bytes,
)
from condi_core.windows import Schema, iterate_blocks


class NotFittedError(ValueError, AttributeError):
    """The imputer has not been fitted."""


class Imputer:
    """Complete missing samples of time series by CondI's imputer, trained on the same data.

    X is an array (n, channel, time) with NaN, or a mask, where nothing was observed, or (channel, time) for
    one window; or a data frame with a column per channel and a row per time, of one window, or of several by
    the first of two levels of its index; or a list or dictionary of data frames. All windows have one length.
    What comes back has the type of X, without a mask, and its observed values are unchanged.

    The weights are, bit for bit, those of `condi run` with one site of the same name, windows, record ids,
    seed and settings, without simulated missingness, differential privacy or other averaging. Record ids are
    the windows' names in the index, or "0", "1", ... for arrays.

    Parameters
    ----------
    rounds, steps : rounds of training, and optimiser steps in each; the learning rate decays over the rounds
    batch : windows per step
    crop : patches of a window in one step; 0: all
    relation_rounds : rounds that estimate the cross-spectrum of the channels
    learning_rate, optimizer : of the first round; "adamw" or "sgd"
    width, heads, blocks, pair_width : size of the network
    token_patches : patches per token; 0: about 16 samples, at most 8 patches
    sampling_steps : evaluations of the denoiser per draw
    patch : samples per patch, which divide the length of a window; None: at most 10, with at least 40 patches
    seed : of all random numbers
    device : of PyTorch, such as "cuda"
    site : name of the site, on which random numbers depend
    verbose : whether to print a line for each round

    Attributes
    ----------
    model_ : TrainedRun, which also takes arrays by patches
    history_ : data frame with a row per round: phase, round, rounds, seconds, loss, and RMSE on validation
        windows in standard deviations
    n_features_in_ : number of channels
    feature_names_in_ : names of the channels, where X was data frames
    """

    def __init__(
        self,
        *,
        rounds: int = 3,
        steps: int = 20,
        batch: int = 8,
        crop: int = 50,
        relation_rounds: int = 3,
        learning_rate: float = 0.002,
        optimizer: Literal["adamw", "sgd"] = "adamw",
        width: int = 64,
        heads: int = 4,
        blocks: int = 2,
        pair_width: int = 16,
        token_patches: int = 0,
        sampling_steps: int = 2,
        patch: int | None = None,
        seed: int = 0,
        device: str = "cpu",
        site: str = "site",
        verbose: bool = False,
    ) -> None:
        self.rounds = rounds
        self.steps = steps
        self.batch = batch
        self.crop = crop
        self.relation_rounds = relation_rounds
        self.learning_rate = learning_rate
        self.optimizer = optimizer
        self.width = width
        self.heads = heads
        self.blocks = blocks
        self.pair_width = pair_width
        self.token_patches = token_patches
        self.sampling_steps = sampling_steps
        self.patch = patch
        self.seed = seed
        self.device = device
        self.site = site
        self.verbose = verbose

    def __repr__(self) -> str:
        defaults = type(self)().get_params()
        changed = [f"{n}={value!r}" for n, value in self.get_params().items() if value != defaults[n]]
        state = "not fitted"
        if hasattr(self, "model_"):
            channels, patches, samples = self.model_.schema.shape
            state = f"fitted to windows ({channels}, {patches * samples}) of (channel, time)"
        return f"<Imputer({', '.join(changed)}), {state}>"

    def get_params(self, deep: bool = True) -> dict[str, Any]:
        """Return the parameters of the constructor by name."""
        names = list(inspect.signature(type(self).__init__).parameters)[1:]
        return {name: getattr(self, name) for name in names}

    def set_params(self, **params: Any) -> Imputer:
        """Set parameters of the constructor, which the next `fit` uses.

        Raises
        ------
        ValueError
            A name is unknown.
        """
        known = self.get_params()
        for name, value in params.items():
            if name not in known:
                raise ValueError(f"Imputer has no parameter '{name}'{suggest_name(name, list(known))}")
            setattr(self, name, value)
        return self

    def fit(self, X: Any, y: Any = None, validation: Any = None) -> Imputer:  # noqa: N803 - as scikit-learn
        """Train on windows.

        Parameters
        ----------
        X : windows for training
        y : is ignored, as in all transformers of scikit-learn
        validation : windows by which the best round is selected; without them it is the last one

        Raises
        ------
        ConfigError
            A parameter is not valid.
        ValueError
            X cannot be used. The message says what to do.
        """
        config, inputs = read_settings(self.get_params()), read_input(X)
        schema = make_schema(inputs, self.patch)
        parts = [inputs]
        if validation is not None:
            parts.append(read_windows_of(schema, validation, inputs.names))
        values = np.concatenate([part.values for part in parts]).astype(np.float32)
        windows = ArrayWindows(
            self.site,
            schema,
            torch.device(self.device),
            values.reshape(-1, *schema.shape),
            np.concatenate([part.record_ids for part in parts]),
        )
        rows, history = np.arange(len(values)), []

        def report(line: dict[str, Any]) -> None:
            history.append(line)
            if self.verbose:
                print(format_round(line), flush=True)

        training, validated = rows[: len(inputs.values)], rows[len(inputs.values) :]
        network = train_single_site(windows, training, validated, config, self.seed, report)
        is_named = inputs.names is not None
        metadata = write_parameters(self.get_params(), config, schema, is_named)
        self._set_network(network, schema, is_named, metadata)
        self.history_ = pd.DataFrame(history)
        self._fitted_input = X
        return self

    def transform(self, X: Any) -> Any:  # noqa: N803 - as scikit-learn
        """Complete windows by the median of each missing sample; what comes back has the type of X."""
        inputs = self._read_fitted(X)
        return inputs.restore(self._complete(inputs, lambda x: self.model_.impute(x).point, axis=0))

    def fit_transform(self, X: Any, y: Any = None, **fit_params: Any) -> Any:  # noqa: N803
        """Train on windows and complete them."""
        return self.fit(X, y, **fit_params).transform(X)

    def quantiles(self, levels: Sequence[float], X: Any = None, samples: int = 100) -> Any:  # noqa: N803
        """Compute quantiles of each missing sample; those of an observed one are its value.

        Parameters
        ----------
        levels : between 0 and 1
        X : windows; by default those that were fitted
        samples : draws from which quantiles are computed; at least 19 for 0.05 and 0.95

        Returns
        -------
        An array (level, n, channel, time), or for data frames a dictionary from level to what has their type.
        """
        read_levels(levels)
        require_samples(samples, least=1)
        if X is None:
            self._require_fitted()
            X = self._fitted_input  # noqa: N806
            if X is None:
                raise ValueError("expected X, as a loaded imputer does not hold the windows it was fitted to")
        inputs = self._read_fitted(X)
        completed = self._complete(
            inputs, lambda x: self.model_.impute(x, samples=samples, seed=self.seed).quantiles(levels), axis=1
        )
        restored = [inputs.restore(quantile) for quantile in completed]
        if isinstance(restored[0], np.ndarray):
            return np.stack(restored)
        return dict(zip(levels, restored, strict=True))

    def save(self, path: str | Path) -> None:
        """Write weights, schema and fitted parameters to a file like a run's `imputer.safetensors`."""
        self._require_fitted()
        path, imputer = Path(path), self.model_.imputer
        assert imputer is not None
        temporary = path.with_name(f"{path.name}.{os.getpid()}.tmp")
        try:
            temporary.write_bytes(weights_to_bytes(state_arrays(imputer), self._metadata))
            os.replace(temporary, path)
        finally:
            temporary.unlink(missing_ok=True)

    @classmethod
    def load(cls, path: str | Path, device: str = "cpu") -> Imputer:
        """Load what `save` wrote, or the `imputer.safetensors` of a run.

        Raises
        ------
        WeightsFileError
            The file is missing, damaged or altered, or holds another model.
        """
        network, schema = load_imputer(path)
        metadata = read_weights(Path(path))[1]
        with require_compatible(path):
            parameters, is_named = read_parameters(metadata, schema)
            imputer = cls(**parameters, device=device)
        imputer._set_network(network.to(device), schema, is_named, metadata)
        imputer._fitted_input = None
        return imputer

    def _set_network(self, network: Any, schema: Schema, is_named: bool, metadata: dict[str, str]) -> None:
        weights = hash_arrays(state_arrays(network))
        self.model_ = TrainedRun(schema, network, weights, {}, "condi", torch.device(self.device))
        self.n_features_in_ = len(schema.names)
        vars(self).pop("feature_names_in_", None)  # of another fit
        if is_named:
            self.feature_names_in_ = np.array(schema.names, object)
        self._metadata = metadata

    def _require_fitted(self) -> None:
        if not self.__sklearn_is_fitted__():
            raise NotFittedError("this Imputer is not fitted: call fit with windows first")

    def _read_fitted(self, x: Any) -> EstimatorInput:
        self._require_fitted()
        names = getattr(self, "feature_names_in_", None)
        return read_windows_of(self.model_.schema, x, None if names is None else tuple(names))

    def _complete(
        self, windows: EstimatorInput, compute: Callable[[np.ndarray], np.ndarray], axis: int
    ) -> np.ndarray:
        """Compute for a few windows at a time, as draws take much memory, and join along the axis."""
        blocks = iterate_blocks(np.arange(len(windows.values)))
        return np.concatenate([compute(windows.values[rows]) for rows in blocks], axis)

    def __sklearn_is_fitted__(self) -> bool:
        """Return whether `fit` was called; scikit-learn asks."""
        return hasattr(self, "model_")

    def __sklearn_tags__(self) -> Any:
        """Return what scikit-learn asks of an estimator; only scikit-learn calls this."""
        from sklearn.utils import InputTags, Tags, TargetTags, TransformerTags

        return Tags(
            estimator_type="transformer",
            target_tags=TargetTags(required=False),
            transformer_tags=TransformerTags(),
            input_tags=InputTags(two_d_array=False, three_d_array=True, allow_nan=True),
        )
