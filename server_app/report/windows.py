"""Test windows as the imputer completes them, worst ones included, from data that is here."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch

from condi_core.config import RunConfig
from condi_core.evaluation.catalogue import EVALUATED_MISSINGNESS, missingness_label
from condi_core.imputer.imputer import Imputer, median_over_draws
from condi_core.methods import METHODS
from condi_core.run_files import weights_path
from condi_core.training import derive_seed
from condi_core.weights_file import WeightsFileError, load_imputer
from condi_core.windows import Schema
from data_partitions import DataError
from data_partitions.federation import open_federation
from data_partitions.missingness import Missingness, missingness_masks
from data_partitions.partition import Partition
from data_partitions.sources.demo import DATASET, cached_demo
from data_partitions.table import format_number
from server_app.artifacts.run_record import ReportError, RunRecord
from server_app.report.figures import Trace, legend_of_traces, traces
from server_app.report.markup import figure_row, heading, paragraph, section

MOST = 48  # windows scored, over all kinds of holes
TOGETHER = 2  # windows completed at once
SHOWN = 3  # modalities of a window
STRETCH = 400  # samples of the fastest modality in a picture, about

Progress = Callable[[int, int], None]


class Completed(NamedTuple):
    """A test window with holes made in it: `(modality, patch, sample)`, in source units but for errors."""

    site: str
    record: str
    values: np.ndarray
    seen: np.ndarray
    hidden: np.ndarray
    quantiles: np.ndarray  # (3, ...): median, 5 % and 95 % of the draws
    squared: np.ndarray  # error of the median in standard deviations, 0 where nothing was hidden
    error: float  # root mean square of these, a patch of a slow modality as much as one of a fast one


def windows(
    run: RunRecord, data: list[Path], limit: float | None = None, progress: Progress = lambda done, all_: None
) -> tuple[str, str]:
    """Worst and typical windows of each kind of holes; fewer, or none, when that takes over `limit` seconds.

    `data` are partitions of sites; without them the folder that a simulation was made from is looked for.
    ReportError when a partition that is given is not one of the run's.
    """
    title = "Windows"
    file = weights_path(run.path, "imputer")
    if not run.sites or not file.is_file() or not _diffuses(run):
        return section(
            title, paragraph("No windows are drawn: the run has left no imputer of all its sites.")
        )
    if limit == 0 and not data:
        told = f"No windows are drawn, as nobody has asked for records of patients: condi report {run.name}"
        return section(title, paragraph(told))
    sites = _given(run, data) if data else _of_simulation(run)
    if not any(len(site.rows("test")) for site in sites):
        return section(
            title,
            paragraph(
                "No windows are drawn: records stay with their sites, and none are here. "
                f"Where a site's data are: condi report {run.name} --data SITE"
            ),
        )
    try:
        imputer, schema = load_imputer(file)
    except WeightsFileError as error:
        return section(title, paragraph(f"No windows are drawn: {error}."))
    found = _complete_all(run, imputer, schema, sites, limit, progress)
    if found is None:
        later = f"No windows are drawn, as that takes over {limit:g} s here: condi report {run.name}"
        return section(title, paragraph(later))
    care = "" if run.is_synthetic else " They are records of patients: this page is to be kept as the data are."
    parts = [
        paragraph(
            "Test windows with the holes of the evaluation, the worst and typical of those scored, by the "
            f"error of the median; the {SHOWN} modalities with the largest error, over the stretch where it "
            f"is.{care}"
        ),
        legend_of_traces(),
    ]
    for kind, scored in found.items():
        if not scored:
            continue
        ranked = sorted(scored, key=lambda w: -w.error)
        places = dict.fromkeys([0, 1, len(ranked) // 2, len(ranked) // 2 + 1])
        drawn = [_figure(ranked[p], p, len(ranked), schema) for p in places if p < len(ranked)]
        parts += [heading(missingness_label(kind)), figure_row(*drawn)]
    return section(title, *parts)


def _diffuses(run: RunRecord) -> bool:
    """Whether a diffusion model was trained by all sites together; behind `estimate` there is none."""
    names = [run.config["method"], *str(run.config.get("compare-with", "")).replace(",", " ").split()]
    methods = [METHODS[name] for name in names if name in METHODS]
    return any(m.imputer_training == "diffusion" and m.scope == "federated" for m in methods)


def _given(run: RunRecord, data: list[Path]) -> list[Partition]:
    found = []
    for path in data:
        try:
            partition = Partition.open(path, check=False)
        except DataError as error:
            raise ReportError(str(error)) from None
        if not _is_of(run, partition):
            raise ReportError(
                f"{path} is not a site of this run as it was: expected one of {', '.join(run.sites)} of "
                f"{run.schema.dataset}, with as many windows; give the partition that took part"
            )
        found.append(partition)
    return found


def _of_simulation(run: RunRecord) -> list[Partition]:
    """Sites of the federation on this machine that the run was a simulation of, if it is still there."""
    folder = run.config.get("federation") or (cached_demo() if run.schema.dataset == DATASET else "")
    if not folder:
        return []
    try:
        federation = open_federation(folder)
        sites = [federation.open_site(name, check=False) for name in federation.sites if name in run.sites]
    except DataError:
        return []
    return [site for site in sites if _is_of(run, site)]


def _is_of(run: RunRecord, partition: Partition) -> bool:
    now, then = partition.manifest, run.sites.get(partition.manifest.site)
    if then is None:
        return False
    then = then.manifest
    same = now.schema() == then.schema() and now.version == then.version and now.modalities == then.modalities
    return same and now.windows["train"] == then.windows["train"]


def _complete_all(
    run: RunRecord,
    imputer: Imputer,
    schema: Schema,
    sites: list[Partition],
    limit: float | None,
    progress: Progress,
) -> dict[str, list[Completed]] | None:
    """Completed windows by kind of holes, about as many of each site, and as many as `limit` allows.

    None when that is not even some of each kind.
    """
    each = max(1, MOST // len(EVALUATED_MISSINGNESS) // len(sites))
    jobs = [
        (kind, site, rows[start : start + TOGETHER])
        for start in range(0, each, TOGETHER)
        for site in sites
        if len(rows := _spread(site.rows("test"), each)) > start
        for kind in EVALUATED_MISSINGNESS
    ]
    found: dict[str, list[Completed]] = {}
    started = time.monotonic()
    for done, (kind, site, rows) in enumerate(jobs, start=1):
        found.setdefault(kind, []).extend(_complete(run, imputer, schema, site, rows, kind))
        progress(done, len(jobs))
        if (
            limit is not None
            and done < len(jobs)
            and (time.monotonic() - started) / done * (done + 1) > limit
        ):
            return found if done >= len(EVALUATED_MISSINGNESS) else None
    return found


def _spread(rows: np.ndarray, most: int) -> np.ndarray:
    return rows if len(rows) <= most else rows[np.linspace(0, len(rows) - 1, most).round().astype(int)]


def _complete(
    run: RunRecord, imputer: Imputer, schema: Schema, site: Partition, rows: np.ndarray, kind: str
) -> list[Completed]:
    """Holes as in the evaluation: what the site lacked in the run, and those of the kind."""
    values, observed = site.read(rows)
    lacked = Missingness(
        modality_by_site=RunConfig.from_flat(run.config).missingness_for_split("test").modality_by_site
    )
    observed = observed & ~missingness_masks(site, rows, values, observed, lacked, run.config["seed"])
    hidden = missingness_masks(
        site,
        rows,
        values,
        observed,
        Missingness(**EVALUATED_MISSINGNESS[kind].parameters),
        derive_seed("scored", kind),
    )
    seen = observed & ~hidden
    generator = torch.Generator().manual_seed(derive_seed(run.config["seed"], "report", kind, int(rows[0])))
    draws = max(run.config.get("imputer.samples", 0), 20)
    given = torch.from_numpy(np.where(seen, values, 0).astype(np.float32))
    drawn = imputer.impute(given, torch.from_numpy(seen), draws, generator).draws
    low, high = np.quantile(drawn.numpy(), (0.05, 0.95), axis=0, method="weibull")
    point = median_over_draws(drawn).numpy()
    deviation = imputer.standardiser.std.numpy()[:, None, None]
    squared = np.where(hidden, ((point - np.where(hidden, values, 0)) / deviation) ** 2, 0.0)
    weights = schema.patch_weights[:, None, None]
    return [
        Completed(
            site.manifest.site,
            str(site.record_ids[row]),
            values[i],
            seen[i],
            hidden[i],
            np.stack([point[i], low[i], high[i]]),
            squared[i],
            float(np.sqrt((weights * squared[i]).sum() / (weights * hidden[i]).sum())),
        )
        for i, row in enumerate(rows)
        if hidden[i].any()
    ]


def _figure(window: Completed, place: int, of: int, schema: Schema) -> str:
    rates = np.array([m.samples_per_patch for m in schema.modalities])
    by_modality = window.squared.sum((1, 2)) / np.maximum(window.hidden.sum((1, 2)), 1)
    chosen = sorted(np.argsort(-by_modality, kind="stable")[:SHOWN])
    length = min(schema.patches, max(1, STRETCH // int(rates[chosen].max())))
    by_patch = (window.squared[chosen] / rates[chosen][:, None, None]).sum((0, 2))
    first = int(np.convolve(by_patch, np.ones(length), "valid").argmax())
    unit, scale = ("h", 3600) if schema.patch_seconds >= 3600 else ("s", 1)
    panels = [_trace(window, m, slice(first, first + length), schema, scale) for m in chosen]
    what = ("worst", "second worst")[place] if place < min(2, of // 2) else "typical"
    title = f"{window.site}, {window.record}: RMSE {format_number(window.error)} ({what} of {of})"
    return traces(title, panels, unit)


def _trace(window: Completed, m: int, patches: slice, schema: Schema, scale: float) -> Trace:
    modality = schema.modalities[m]

    def line(array: np.ndarray) -> np.ndarray:
        return array[..., m, patches, : modality.samples_per_patch].reshape(*array.shape[:-3], -1)

    values, seen, hidden = line(window.values), line(window.seen), line(window.hidden)
    point, low, high = np.where(seen, np.nan, line(window.quantiles))
    time_ = np.arange(len(values)) / modality.samples_per_patch + patches.start
    return Trace(
        modality.name,
        modality.unit,
        (time_ * schema.patch_seconds / scale).tolist(),
        np.where(seen, values, np.nan).tolist(),
        np.where(hidden, values, np.nan).tolist(),
        point.tolist(),
        low.tolist(),
        high.tolist(),
    )
