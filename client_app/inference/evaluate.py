"""A run's metrics on a partition, with confidence intervals by bootstrap over patients."""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Literal

import numpy as np

from client_app.inference.bootstrap import Metrics, bootstrap_counts, with_intervals
from client_app.inference.evaluate_task import SubgroupResults, TaskEvaluation
from client_app.inference.opening import open_compatible_partition, open_run
from client_app.inference.site_data import open_labelled_partition
from client_app.inference.site_description import SiteSettings
from client_app.node.site import Site
from condi_core.config import MissingnessSettings
from condi_core.evaluation.catalogue import EVALUATED_MISSINGNESS, imputation_metrics
from condi_core.evaluation.pattern_sums import scored_keys
from condi_core.imputer.scoring import error_sums_by_block
from condi_core.missingness import Missingness
from condi_core.model import TrainedRun
from condi_core.run_files import read_config, read_roster
from condi_core.windows import iterate_blocks
from data_partitions import DataError
from data_partitions.federation import describe_differences
from data_partitions.manifest import SPLITS
from data_partitions.preparation_log import ProgressCallback
from data_partitions.window_store import labelled_rows


def evaluate_run(
    run: Path,
    data: Path,
    settings: SiteSettings,
    split: Literal["train", "val", "test", "all"],
    num_resamples: int,
    as_measured: bool,
    device: str,
    progress: ProgressCallback,
) -> dict[str, Any]:
    """Evaluate a run on a partition, or on files with labels; return what `evaluation_tables` lays out.

    `split` may be "train" or "all" only at sites that took no part in the run. With `as_measured`, windows
    are classified without simulated missingness.

    Returns
    -------
    dict
        `site`, `windows`, `patients`, and `labelled`, the number of windows with labels; `skipped`, why files
        could not be used; `notes`, what was unusual in the others;
        `imputation` as `{missingness pattern: {method: metrics}}`, empty without an imputer;
        `task` as `{method: metrics}` of the windows with labels, with the `reliability` of each class:
        mean score, observed rate and number of windows of each bin of `reliability`, as in a run's report;
        `subgroups` as `{method: {covariate: {subgroup: {"windows", "patients", "metrics"}}}}`, where metrics
        of fewer patients than `privacy.smallest-count` are None.
    """
    model = open_run(run, data, device)
    with (
        open_labelled_partition(model.schema, data, settings, progress) as partition,
        TemporaryDirectory() as cache,
    ):
        site = _open_site(model, run, partition.path, split, Path(cache))
        splits = SPLITS if split == "all" else (split,)
        rows = np.concatenate([site.partition.rows(s) for s in splits])
        if not len(rows):
            raise DataError(f"{data} has no {split} windows: choose another --split")
        patients = site.partition.patient_ids[rows]
        counts = bootstrap_counts(patients, num_resamples)
        imputation = _evaluate_imputation(model, site, rows, counts, progress)
        labelled = np.isin(rows, np.concatenate([labelled_rows(site.partition, s) for s in splits]))
        task: dict[str, dict[str, Any]] = {}
        by_subgroup: dict[str, SubgroupResults] = {}
        if labelled.any():
            evaluation = TaskEvaluation(model, site, rows[labelled], counts[:, labelled])
            for method in model.classifiers:
                task[method], by_subgroup[method] = evaluation.metrics(method, as_measured, progress)
        return {
            "site": site.name,
            "windows": len(rows),
            "patients": len(np.unique(patients)),
            "labelled": int(labelled.sum()),
            "skipped": partition.skipped,
            "notes": partition.notes,
            "imputation": imputation,
            "task": task,
            "subgroups": by_subgroup,
        }


def _open_site(model: TrainedRun, run: Path, data: Path, split: str, cache: Path) -> Site:
    """Open the partition under the settings of the run, whose test missingness all splits get."""
    partition = open_compatible_partition(model, data)
    config, sites = read_config(run), read_roster(run)
    expected = model.schema.model_dump(mode="json")
    manifest = partition.manifest
    differences = list(describe_differences(manifest.schema_fields(), expected, manifest.description_lines))
    if differences and manifest.labels:  # without labels, imputation alone is evaluated
        raise DataError(f"{data} does not fit the run: {'; '.join(differences)}")
    missingness = Missingness.for_split("test", dict(config.missingness), config.test_overrides)
    config = config.model_copy(
        update={"missingness": MissingnessSettings(**missingness), "test_missingness": ""}
    )
    name = partition.manifest.site
    if split in ("train", "all") and name in sites:
        raise DataError(
            f"{name} took part in this run, which was trained on its training windows: use --split test"
        )
    return Site(name, partition, config, model.device, cache)


def _evaluate_imputation(
    model: TrainedRun, site: Site, rows: np.ndarray, counts: np.ndarray, progress: ProgressCallback
) -> dict[str, dict[str, Metrics]]:
    """Evaluate the imputer and naive baselines; a patch has the same weight at any sampling rate."""
    if model.imputer is None:
        return {}
    samples = site.config.imputer.samples
    sums: dict[str, list[np.ndarray]] = {key: [] for key in scored_keys(samples)}
    num_blocks = len(sums) * sum(1 for _ in iterate_blocks(rows))
    blocks = error_sums_by_block(site, rows, model.imputer, site.config.seed, samples, all_measured=True)
    for done, (key, block_sums) in enumerate(blocks, 1):
        sums[key].append(np.einsum("wmk,m->wk", block_sums, model.schema.patch_weights))
        progress("imputation", done, num_blocks)
    results: dict[str, dict[str, Metrics]] = {kind: {} for kind in EVALUATED_MISSINGNESS}
    for key, parts in sums.items():
        kind, method = key.split("/")
        resampled = counts @ np.concatenate(parts)
        results[kind][method] = with_intervals([imputation_metrics(s) for s in resampled])
    return results
