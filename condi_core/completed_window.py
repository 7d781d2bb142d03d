"""Test windows with what was hidden from the imputer and how it completed them, for reports and notebooks."""

from __future__ import annotations

from typing import Any, NamedTuple, Protocol

import numpy as np
import torch

from condi_core.config import RunConfig
from condi_core.evaluation.catalogue import EVALUATED_MISSINGNESS
from condi_core.evaluation.imputation import quantiles
from condi_core.imputer.imputer import DiffusionImputer, median_over_draws
from condi_core.missingness import Missingness, missingness_masks
from condi_core.missingness.masks import RecordStore
from condi_core.training import derive_seed
from condi_core.windows import Schema

MIN_DRAWS = 20  # a 90 % interval needs 19 draws to cover 90 %
INTERVAL = torch.tensor((0.05, 0.95))


class SiteStore(RecordStore, Protocol):
    """The windows of a site on this machine, such as `data_partitions.partition.Partition`."""

    @property
    def manifest(self) -> Any:
        """What the store holds, with the name of the site as `site`."""

    def rows(self, split: Any) -> np.ndarray:
        """Return the rows (int) of the windows of a split."""

    def read(self, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Read values and masks (window, modality, patch, sample)."""


class CompletedWindow(NamedTuple):
    """A test window with simulated missingness and its completion.

    Arrays are (modality, patch, sample), in source units unless stated otherwise.

    Attributes
    ----------
    site, record : where the window is from
    values : what was measured
    conditioning : bool, what the model was given
    target : bool, what was measured, and hidden from the model
    quantiles : (3, modality, patch, sample), median, 5 % and 95 % of the draws
    squared_error : of the median, in squared standard deviations; 0 outside the target
    rmse : in standard deviations; a patch counts the same in a slow and in a fast modality
    """

    site: str
    record: str
    values: np.ndarray
    conditioning: np.ndarray
    target: np.ndarray
    quantiles: np.ndarray
    squared_error: np.ndarray
    rmse: float

    def __repr__(self) -> str:
        hidden, measured = int(self.target.sum()), int((self.target | self.conditioning).sum())
        return (
            f"<CompletedWindow {self.record} of {self.site}: {hidden} of {measured} samples hidden, "
            f"RMSE {self.rmse:.3f} standard deviations>"
        )


def complete_rows(
    config: RunConfig,
    imputer: DiffusionImputer,
    schema: Schema,
    site: SiteStore,
    rows: np.ndarray,
    pattern: str,
) -> list[CompletedWindow]:
    """Complete windows of a site under a pattern, with the masks of the evaluation.

    These are the missingness that the run simulated at the site, and the pattern on top of it. Windows in
    which nothing was hidden are omitted.

    Parameters
    ----------
    config : settings of the run
    imputer, schema : of the run
    site : of the windows
    rows : int (window,), rows of the site
    pattern : one of `EVALUATED_MISSINGNESS`
    """
    values, observed = site.read(rows)
    of_site = Missingness.for_split("test", dict(config.missingness), config.test_overrides).of_site()
    observed = observed & ~missingness_masks(site, rows, values, observed, of_site, config.seed)
    parameters: dict[str, Any] = {**EVALUATED_MISSINGNESS[pattern].parameters}
    seed = derive_seed("scored", pattern)
    target = missingness_masks(site, rows, values, observed, Missingness(**parameters), seed)
    conditioning = observed & ~target
    generator = torch.Generator().manual_seed(derive_seed(config.seed, "report", pattern, int(rows[0])))
    num_draws = max(config.imputer.samples, MIN_DRAWS)
    known_values = torch.from_numpy(np.where(conditioning, values, 0).astype(np.float32))
    draws = imputer.impute(known_values, torch.from_numpy(conditioning), num_draws, generator).draws
    low, high = quantiles(draws, INTERVAL).numpy()
    median = median_over_draws(draws).numpy()
    deviation = imputer.standardiser.std.numpy()[:, None, None]
    error = np.where(target, (median - np.where(target, values, 0)) / deviation, 0.0)
    weights = schema.patch_weights[:, None, None]
    return [
        CompletedWindow(
            site=site.manifest.site,
            record=str(site.record_ids[row]),
            values=values[i],
            conditioning=conditioning[i],
            target=target[i],
            quantiles=np.stack([median[i], low[i], high[i]]),
            squared_error=error[i] ** 2,
            rmse=float(np.sqrt((weights * error[i] ** 2).sum() / (weights * target[i]).sum())),
        )
        for i, row in enumerate(rows)
        if target[i].any()
    ]
