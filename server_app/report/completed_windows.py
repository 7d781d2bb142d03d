"""Complete test windows for the report, from data on this machine."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch

from condi_core.config import RunConfig
from condi_core.evaluation.catalogue import EVALUATED_MISSINGNESS
from condi_core.evaluation.imputation import quantiles
from condi_core.imputer.imputer import DiffusionImputer, median_over_draws
from condi_core.missingness import Missingness, missingness_masks
from condi_core.training import derive_seed
from condi_core.windows import Schema
from data_partitions import DataError
from data_partitions.federation import open_federation
from data_partitions.partition import Partition
from data_partitions.sources.demo import DATASET, cached_demo
from server_app.artifacts.run_record import ReportError, RunRecord

MAX_WINDOWS = 48  # number of windows completed for a report, over all missingness patterns
WINDOWS_PER_CALL = 2
MIN_DRAWS = 20  # a 90 % interval needs 19 draws to cover 90 %
INTERVAL = torch.tensor((0.05, 0.95))

Progress = Callable[[int, int], None]  # (completed, total)


class CompletedWindow(NamedTuple):
    """A test window with simulated missingness and its completion.

    Arrays are `(modality, patch, sample)`, in source units unless stated otherwise.
    """

    site: str
    record: str
    values: np.ndarray
    conditioning: np.ndarray  # bool: what the model was given
    target: np.ndarray  # bool: what was measured, and hidden from the model
    quantiles: np.ndarray  # (3, modality, patch, sample): median, 5 % and 95 % of the draws
    squared_error: np.ndarray  # of the median, in squared standard deviations; 0 outside the target
    rmse: float  # in standard deviations; a patch counts the same in a slow and in a fast modality


def sites_with_data(run: RunRecord, data: list[Path]) -> list[Partition]:
    """Open the partitions from which windows can be completed.

    Parameters
    ----------
    run : RunRecord
    data : list of Path
        Partitions of sites of the run. Without any, the federation of a simulation is opened, if it is still
        on this machine.

    Raises
    ------
    ReportError
        A partition cannot be read, or did not take part in the run.
    """
    return [_open_site(run, path) for path in data] if data else _sites_of_simulation(run)


def complete_windows(
    run: RunRecord,
    imputer: DiffusionImputer,
    schema: Schema,
    sites: list[Partition],
    limit: float | None,
    progress: Progress,
) -> dict[str, list[CompletedWindow]] | None:
    """Complete test windows under each missingness pattern of the evaluation.

    Parameters
    ----------
    run : RunRecord
    imputer, schema
        The run's imputer and its schema.
    sites : list of Partition
        Sites of the windows; each has about the same number of them.
    limit : float, optional
        Seconds that the work may take; the rest is then omitted.
    progress : callable (completed, total)

    Returns
    -------
    dict of str to list of CompletedWindow, or None
        Windows by pattern; None when the limit does not allow some of each pattern.
    """
    per_site = max(1, MAX_WINDOWS // len(EVALUATED_MISSINGNESS) // len(sites))
    jobs = [
        (pattern, site, rows[start : start + WINDOWS_PER_CALL])
        for start in range(0, per_site, WINDOWS_PER_CALL)
        for site in sites
        if len(rows := _evenly_spaced(site.rows("test"), per_site)) > start
        for pattern in EVALUATED_MISSINGNESS
    ]
    windows: dict[str, list[CompletedWindow]] = {}
    started = time.monotonic()
    for done, (pattern, site, rows) in enumerate(jobs, start=1):
        windows.setdefault(pattern, []).extend(complete_rows(run, imputer, schema, site, rows, pattern))
        progress(done, len(jobs))
        expected = (time.monotonic() - started) / done * (done + 1)
        if limit is not None and done < len(jobs) and expected > limit:
            return windows if done >= len(EVALUATED_MISSINGNESS) else None
    return windows


def complete_rows(
    run: RunRecord, imputer: DiffusionImputer, schema: Schema, site: Partition, rows: np.ndarray, pattern: str
) -> list[CompletedWindow]:
    """Complete windows of a site under a pattern, with the masks of the evaluation.

    These are the missingness that the run simulated at the site, and the pattern on top of it. Windows in
    which nothing was hidden are omitted.
    """
    values, observed = site.read(rows)
    config = RunConfig.from_flat(run.config)
    of_site = Missingness.for_split("test", dict(config.missingness), config.test_overrides).of_site()
    observed = observed & ~missingness_masks(site, rows, values, observed, of_site, run.config["seed"])
    parameters: dict[str, Any] = {**EVALUATED_MISSINGNESS[pattern].parameters}
    seed = derive_seed("scored", pattern)
    target = missingness_masks(site, rows, values, observed, Missingness(**parameters), seed)
    conditioning = observed & ~target
    generator = torch.Generator().manual_seed(
        derive_seed(run.config["seed"], "report", pattern, int(rows[0]))
    )
    num_draws = max(run.config.get("imputer.samples", 0), MIN_DRAWS)
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


def _open_site(run: RunRecord, path: Path) -> Partition:
    try:
        partition = Partition.open(path, check=False)
    except DataError as error:
        raise ReportError(str(error)) from None
    if not _took_part(run, partition):
        raise ReportError(
            f"{path} did not take part in this run as it is now: expected one of {', '.join(run.sites)} of "
            f"{run.schema.dataset} with the same windows; give the partition that took part"
        )
    return partition


def _sites_of_simulation(run: RunRecord) -> list[Partition]:
    """Open the sites of the simulated federation, if it is still on this machine."""
    folder = run.config.get("federation") or (cached_demo() if run.schema.dataset == DATASET else "")
    if not folder:
        return []
    try:
        federation = open_federation(folder)
        sites = [federation.open_site(name, check=False) for name in federation.sites if name in run.sites]
    except DataError:
        return []
    return [site for site in sites if _took_part(run, site)]


def _took_part(run: RunRecord, partition: Partition) -> bool:
    now, site = partition.manifest, run.sites.get(partition.manifest.site)
    if site is None:
        return False
    then = site.manifest
    same = (
        now.schema_fields() == then.schema_fields()
        and now.version == then.version
        and now.modalities == then.modalities
    )
    return same and now.windows["train"] == then.windows["train"]


def _evenly_spaced(rows: np.ndarray, max_rows: int) -> np.ndarray:
    if len(rows) <= max_rows:
        return rows
    return rows[np.linspace(0, len(rows) - 1, max_rows).round().astype(int)]
