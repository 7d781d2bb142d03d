"""Train an imputer on the windows of one site, without messages: the weights of a federation of that site."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from condi_core.averaging import Arrays, SiteUpdate, average, count_pairs
from condi_core.evaluation.pattern_sums import rmse_over_patterns
from condi_core.imputer.imputer import DiffusionImputer
from condi_core.imputer.local_training import compute_standardising_sums, train_imputer
from condi_core.imputer.relation_estimate import (
    estimate_cross_spectrum,
    estimate_site_relation,
    set_relation,
)
from condi_core.imputer.scoring import score_imputer
from condi_core.missingness import Missingness, missingness_mask
from condi_core.ownership import ownership
from condi_core.phase_config import ImputerConfig
from condi_core.training import cosine_rate, derive_seed
from condi_core.weights_file import state_arrays
from condi_core.windows import Schema, Windows

ReportRound = Callable[[dict[str, Any]], None]


@dataclass(frozen=True)
class ArrayWindows:
    """Windows in memory, of which nothing is hidden but what is NaN; a `WindowSource`.

    Attributes
    ----------
    name : of the site
    schema : of the windows
    device : where the training computes
    values : float32 (window, modality, patch, sample), NaN where nothing was observed
    record_ids : str (window,); masks of training depend on them
    """

    name: str
    schema: Schema
    device: torch.device
    values: np.ndarray
    record_ids: np.ndarray

    def read(self, rows: np.ndarray, all_measured: bool = False) -> Windows:
        """Read windows; `all_measured` has no effect, as nothing is hidden."""
        values = self.values[rows]
        observed = ~np.isnan(values)
        return Windows(torch.from_numpy(np.where(observed, values, 0)), torch.from_numpy(observed))

    def missingness_masks(
        self, values: np.ndarray, observed: np.ndarray, rows: np.ndarray, seed: int, missingness: Missingness
    ) -> np.ndarray:
        """Return masks of the samples to hide, fixed by seed and record id."""
        windows = zip(values, observed, self.record_ids[rows], strict=True)
        return np.stack(
            [missingness_mask(x, mask, missingness, seed=seed, record_id=name) for x, mask, name in windows]
        )


def train_single_site(
    windows: ArrayWindows,
    training: np.ndarray,
    validation: np.ndarray,
    config: ImputerConfig,
    seed: int,
    report_round: ReportRound,
) -> DiffusionImputer:
    """Estimate the relation between modalities, and train the diffusion model.

    Parameters
    ----------
    windows : of the site
    training, validation : int (window,), rows; the round with the lowest error on validation windows is
        selected, or the last one if there are none
    config : settings of phase 1
    seed : of all random numbers
    report_round : is called with the numbers of each finished round

    Returns
    -------
    DiffusionImputer
        Its weights are those of a run with one site of this name, with the same windows and record ids, no
        simulated missingness, no differential privacy and default averaging.
    """
    with torch.random.fork_rng(devices=[]):  # which restores the random state of the caller
        torch.manual_seed(derive_seed(seed, "initial weights", "imputer"))
        model = DiffusionImputer(windows.schema, config)
    model.standardiser.fit(torch.from_numpy(compute_standardising_sums(windows, training)))
    model.to(windows.device).eval()
    owners, lowest_error = ownership(model), math.inf

    def finish_round(phase: str, round_: int, rounds: int, start: float, **numbers: float) -> None:
        seconds = time.monotonic() - start
        report_round({"phase": phase, "round": round_, "rounds": rounds, "seconds": seconds, **numbers})

    for round_ in range(1, config.relation_rounds + 1):
        start, state = time.monotonic(), state_arrays(model)
        round_seed = derive_seed(seed, "relation", round_, windows.name)
        spectra, counts, number = estimate_cross_spectrum(windows, training, model, round_seed, round_ == 1)
        _load_state(model, average(state, owners, [SiteUpdate(spectra, counts, number)]))
        finish_round("relation", round_, config.relation_rounds, start)

    relation = estimate_site_relation(windows, training, validation, model, seed)
    state = best = state_arrays(model)
    for round_ in range(1, config.rounds + 1):
        start = time.monotonic()
        set_relation(model, relation)
        rate = cosine_rate(config.learning_rate, round_, config.rounds)
        round_seed = derive_seed(seed, "imputer", round_, windows.name)
        result = train_imputer(windows, training, model, config, round_seed, rate)
        pairs = count_pairs(result["present"], result["windows"])
        trained = {n: p.detach().cpu().numpy() for n, p in model.named_parameters() if p.requires_grad}
        state = average(state, owners, [SiteUpdate(trained, pairs, result["windows"], result["steps"])])
        _load_state(model, state)
        numbers = {"loss": result["loss"]}
        if len(validation):
            set_relation(model, relation)
            sums = score_imputer(windows, validation, model, seed)
            numbers["rmse"] = rmse_over_patterns(sums, windows.schema.patch_weights, "condi")
        error = np.nan_to_num(numbers.get("rmse", math.inf), nan=math.inf, posinf=math.inf)
        if error < lowest_error or math.isinf(lowest_error):
            best, lowest_error = state, error
        finish_round("imputer", round_, config.rounds, start, **numbers)
    _load_state(model, best)
    return model


def format_round(line: dict[str, Any]) -> str:
    """Return the numbers of a finished round as one line of text."""
    numbers = [f"{name} {line[name]:.3f}" for name in ("loss", "rmse") if name in line]
    parts = [f"{line['phase']} {line['round']}/{line['rounds']}", *numbers, f"{line['seconds']:.1f} s"]
    return ", ".join(parts)


def _load_state(model: DiffusionImputer, state: Arrays) -> None:
    model.load_state_dict({name: torch.from_numpy(array) for name, array in state.items()})
