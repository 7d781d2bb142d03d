"""The section of gains: what each site gained over training alone, for every metric."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace

from condi_core.evaluation.catalogue import IMPUTATION_METRICS, Metric, metrics_of_task
from condi_core.methods import METHODS
from data_partitions.table import Table, Value
from server_app.artifacts.estimates import Estimate, combine
from server_app.artifacts.run_estimates import ALL_PATTERNS, imputation_estimates, task_estimates
from server_app.artifacts.run_record import RunRecord
from server_app.report.interval_figure import interval_rows
from server_app.report.markup import (
    Section,
    estimate_cell,
    figure_row,
    meaning_list,
    paragraph,
    section,
    side_by_side,
    table_or_folded,
)
from server_app.report.small_groups import EXPLANATION, MARK

TITLE = "What each site gained"
LOCAL = "local"  # the method in which each site trains its own models
MAX_BARS = 30  # of a figure
IMPUTATION_RMSE = replace(IMPUTATION_METRICS["rmse"], label="imputation RMSE")


@dataclass(frozen=True)
class Gain:
    """A metric of a site after training together and alone, and the gain: positive where it is better."""

    metric: Metric
    together: Estimate
    alone: Estimate

    @property
    def difference(self) -> Estimate:
        """The improvement by training together, of the same patients."""
        sign = -1.0 if self.metric.higher_is_better is False else 1.0
        return combine(lambda together, alone: sign * (together - alone), self.together, self.alone)


def site_gains(run: RunRecord) -> dict[str, list[Gain]]:
    """Return the gains of each site over training alone.

    Parameters
    ----------
    run : RunRecord

    Returns
    -------
    dict
        `{site: gains}`, with the metrics of the task and the RMSE of the imputer, as far as both were scored;
        empty if the run's method is not federated or `local` was not trained.
    """
    method = run.config["method"]
    if not run.sites or (method in METHODS and METHODS[method].scope != "federated"):
        return {}
    gains = {site: [*_task_gains(run, method, site), *_imputation_gains(run, site)] for site in run.sites}
    return {site: of_site for site, of_site in gains.items() if of_site}


def gains_section(run: RunRecord, gains: dict[str, list[Gain]], ranked: dict[str, Gain]) -> Section:
    """Return the section; `ranked` has the first gain of the sites with enough patients for a comparison."""
    if not gains:
        return section(TITLE, paragraph(_why_no_gain(run)))
    method = run.config["method"]
    metrics = {gain.metric.label: gain.metric for of_site in gains.values() for gain in of_site}
    order = [*ranked, *(site for site in gains if site not in ranked)]
    return section(
        TITLE,
        paragraph(
            "The test patients of each site were scored by the models that all sites trained together "
            f"({method}), and by those that the site trained on its own data (local). A gain is positive "
            f"where training together is better. {EXPLANATION}"
        ),
        figure_row(*_figures(ranked)),
        side_by_side(
            *(_table(run, _select_gains(gains, order, metric), ranked) for metric in metrics.values())
        ),
        meaning_list({label: metric.meaning for label, metric in metrics.items()}),
    )


def _select_gains(gains: dict[str, list[Gain]], sites: Sequence[str], metric: Metric) -> dict[str, Gain]:
    """Select the gains in one metric, in the order of `sites`."""
    return {site: gain for site in sites for gain in gains[site] if gain.metric == metric}


def _table(run: RunRecord, gains: dict[str, Gain], ranked: Collection[str]) -> str:
    """Tabulate the gains of all sites in one metric."""
    metric = next(iter(gains.values())).metric
    rows: list[list[Value]] = [
        [
            site if site in ranked else site + MARK,
            run.sites[site].patients.get("test"),
            estimate_cell(metric, gain.difference, signed=True),
            estimate_cell(metric, gain.together),
            estimate_cell(metric, gain.alone),
        ]
        for site, gain in gains.items()
    ]
    columns = ["site", "test patients", "gain", "together", "alone"]
    return table_or_folded(Table(f"{metric.label}, gain over training alone", columns, rows))


def _figures(ranked: dict[str, Gain]) -> list[str]:
    if not ranked:
        return []
    label = next(iter(ranked.values())).metric.label
    differences = {site: gain.difference for site, gain in ranked.items()}
    sites = sorted(differences, key=lambda site: -differences[site].value)
    if len(sites) > MAX_BARS:
        sites = [*sites[: MAX_BARS // 2], *sites[-MAX_BARS // 2 :]]
    title = f"Gain in {label} over training alone"
    if len(sites) < len(ranked):
        title += f", the {MAX_BARS // 2} highest and lowest of {len(ranked)} sites"
    return [interval_rows(title, {site: differences[site] for site in sites}, label)]


def _why_no_gain(run: RunRecord) -> str:
    method = run.config["method"]
    if method in METHODS and METHODS[method].scope != "federated":
        return f"There is no gain, because the method {method} is not federated."
    if not run.sums:
        return "The run has no test scores of single sites yet."
    return (
        "The gain of each site over training alone is not known, because the run did not train the method "
        f"local: add it with condi run -c 'compare-with=\"{LOCAL}\"', which trains each site by itself."
    )


def _task_gains(run: RunRecord, method: str, site: str) -> list[Gain]:
    together, alone = (task_estimates(run, name, [site]) for name in (method, LOCAL))
    return [
        Gain(metric, together[metric.name], alone[metric.name])
        for metric in metrics_of_task(run.schema.task)
        if metric.higher_is_better is not None and metric.name in together and metric.name in alone
    ]


def _imputation_gains(run: RunRecord, site: str) -> list[Gain]:
    together, alone = (
        imputation_estimates(run, scope, [site]).get(ALL_PATTERNS, {}).get("condi")
        for scope in ("federated", "local")
    )
    return [Gain(IMPUTATION_RMSE, together["rmse"], alone["rmse"])] if together and alone else []
