"""Score the imputer and the naive baselines on hidden samples of one site, as sums of errors."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch

from condi_core.evaluation.catalogue import ERROR_SUMS, EVALUATED_MISSINGNESS
from condi_core.evaluation.imputation import imputation_sums_by_window
from condi_core.evaluation.pattern_sums import scored_keys
from condi_core.evaluation.replicates import add_up_deviations
from condi_core.imputer.imputer import DiffusionImputer, median_over_draws
from condi_core.imputer.local_training import WindowSource
from condi_core.missingness import Missingness
from condi_core.protocol import REPLICATES
from condi_core.training import derive_seed
from condi_core.windows import iterate_blocks, zero_unobserved


def score_imputer(
    source: WindowSource,
    rows: np.ndarray,
    imputer: DiffusionImputer,
    seed: int,
    samples: int = 0,
    all_measured: bool = False,
    deviations: np.ndarray | None = None,
) -> dict[str, np.ndarray]:
    """Score the imputer and the naive baselines on samples that are the same in every round.

    Parameters
    ----------
    source : of the windows
    rows : int (window,)
    imputer : in evaluation mode
    seed : of the run
    samples : draws per window; with 0, draws are not scored
    all_measured : hide samples among all that were measured, and not only among those that the run does not
        hide
    deviations : (window, replicate), the numbers of the windows' patients for `replicates`

    Returns
    -------
    dict
        Error sums (modality, 5) by missingness pattern and method: `scored_keys` lists the keys. With
        deviations also `REPLICATES` (replicate, 5 * key), of the sums over modalities.
    """
    zero = np.zeros((len(source.schema.modalities), len(ERROR_SUMS)))
    sums = {key: zero for key in scored_keys(samples)}
    weight = source.schema.patch_weights[:, None]
    by_window: dict[str, list[np.ndarray]] = {key: [np.zeros((0, len(ERROR_SUMS)))] for key in sums}
    for key, block_sums in error_sums_by_block(source, rows, imputer, seed, samples, all_measured):
        sums[key] = sums[key] + block_sums.sum(0)
        by_window[key].append((weight * block_sums).sum(1))
    if deviations is not None:
        columns = np.concatenate([np.concatenate(blocks) for blocks in by_window.values()], 1)
        sums[REPLICATES] = add_up_deviations(deviations, columns)
    return sums


def error_sums_by_block(
    source: WindowSource,
    rows: np.ndarray,
    imputer: DiffusionImputer,
    seed: int,
    samples: int,
    all_measured: bool,
) -> Iterator[tuple[str, np.ndarray]]:
    """Hide samples by each missingness pattern, complete them by each method, and sum up the errors.

    Parameters as in `score_imputer`.

    Yields
    ------
    key : str
        Pattern and method, one of `scored_keys`.
    sums : ndarray (window, modality, 5)
        Error sums of the windows of one block.
    """
    for kind, pattern in EVALUATED_MISSINGNESS.items():
        generator = torch.Generator().manual_seed(derive_seed(seed, kind, source.name))
        for block in iterate_blocks(rows):
            windows = source.read(block, all_measured)
            masks = source.missingness_masks(
                windows.values.numpy(),
                windows.observed.numpy(),
                block,
                derive_seed("scored", kind),
                Missingness(**pattern.parameters),
            )
            target = torch.from_numpy(masks)
            values, conditioning, target = (
                tensor.to(source.device) for tensor in (windows.values, windows.observed & ~target, target)
            )
            truth = imputer.standardiser(values, conditioning | target)
            batch = imputer.prepare(zero_unobserved(values, conditioning), conditioning)
            mean, draws = imputer.sample(batch, samples, generator)
            estimates = {
                "mean": torch.zeros_like(truth),
                "linear": batch.references.interpolation,
                "estimate": batch.references.conditional_mean,
                "condi": mean,
            }
            if samples:
                estimates["condi, draws"] = median_over_draws(draws)
            for method, estimate in estimates.items():
                spread = draws if method == "condi, draws" else None
                yield f"{kind}/{method}", imputation_sums_by_window(truth, estimate, target, spread)
