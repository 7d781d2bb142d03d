"""Complete test windows for the report, from data on this machine."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

from condi_core.completed_window import CompletedWindow, complete_rows
from condi_core.config import RunConfig
from condi_core.evaluation.catalogue import EVALUATED_MISSINGNESS
from condi_core.imputer.imputer import DiffusionImputer
from condi_core.windows import Schema
from data_partitions import DataError
from data_partitions.federation import open_federation
from data_partitions.partition import Partition
from data_partitions.sources.demo import DATASET, cached_demo
from server_app.artifacts.run_record import ReportError, RunRecord

MAX_WINDOWS = 48  # number of windows completed for a report, over all missingness patterns
WINDOWS_PER_CALL = 2

Progress = Callable[[int, int], None]  # (completed, total)


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
    config = RunConfig.from_flat(run.config)
    windows: dict[str, list[CompletedWindow]] = {}
    started = time.monotonic()
    for done, (pattern, site, rows) in enumerate(jobs, start=1):
        windows.setdefault(pattern, []).extend(complete_rows(config, imputer, schema, site, rows, pattern))
        progress(done, len(jobs))
        expected = (time.monotonic() - started) / done * (done + 1)
        if limit is not None and done < len(jobs) and expected > limit:
            return windows if done >= len(EVALUATED_MISSINGNESS) else None
    return windows


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
