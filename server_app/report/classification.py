"""The section of the task: metrics of each method, and curves and counts where labels are classes."""

from __future__ import annotations

from condi_core.averaging import Arrays
from condi_core.evaluation.catalogue import CALIBRATION_ERROR, MEAN_LOSS, TASK_METRICS
from condi_core.evaluation.classification import (
    DECISION_COUNTS,
    auroc,
    average_precision,
    calibration_error,
)
from condi_core.methods import METHODS
from data_partitions.dataset_titles import label_meanings
from data_partitions.table import Table, Value
from server_app.artifacts.estimates import NO_ESTIMATE, Estimate
from server_app.artifacts.run_estimates import task_estimates
from server_app.artifacts.run_record import RunRecord
from server_app.artifacts.stored_sums import histograms, sum_over_sites
from server_app.report.label_curves import label_figures, reliability_table
from server_app.report.markup import (
    Section,
    details,
    estimate_cell,
    figure_row,
    heading,
    meaning_list,
    metric_cell,
    paragraph,
    section,
    table_or_folded,
)
from server_app.report.operating_points import explain_thresholds, operating_points_table, shown_labels
from server_app.report.small_groups import mark_label

OF_THE_EVENT = "Curves, AUPRC and operating points are those of {event}: the other label mirrors them."
OF_CURVES = (
    "By chance, the ROC curve is the diagonal, and the precision-recall curve is at the prevalence of the "
    "label, drawn as a dashed line. In the reliability diagram, windows are put into bins by their predicted "
    "probability, with about equally many windows in each. On the diagonal, probabilities are right on "
    "average. Vertical bars are 95 % intervals for independent windows; they are drawn where there is one "
    "label."
)


def classification(run: RunRecord) -> Section:
    title = run.schema.task_kind.title if run.sites else "Classification"
    if not run.task:
        return section(title, paragraph("No task model has been scored on test windows yet."))
    metrics = {**TASK_METRICS, MEAN_LOSS.name: MEAN_LOSS}
    shown = [m for m in metrics.values() if any(m.name in scored for scored in run.task.values())]
    rows: list[list[Value]] = []
    for method, scored in run.task.items():
        estimates = task_estimates(run, method) if run.sites else {}
        values = {name: Estimate(value) for name, value in scored.items()}
        cells = [estimate_cell(m, estimates.get(m.name, values.get(m.name, NO_ESTIMATE))) for m in shown]
        rows.append([method_title(method), *cells])
    columns, meanings = ["method", *(m.label for m in shown)], {m.label: m.meaning for m in shown}
    parts = [
        _labels(run),
        Table(f"{title} of test windows", columns, rows, _averaging(run), meanings).to_html(),
        meaning_list(meanings),
    ]
    first, *others = sorted(run.scored_methods, key=lambda method: method != run.config["method"]) or [""]
    for method in [first, *others]:
        sums = sum_over_sites(run.sums[f"task-{method}"]) if method else {}
        if "task" in sums:  # counts and score histograms, which only kinds of classification have
            name, of_method = method_title(method), _method(run, method, sums)
            if method == first:
                parts += [
                    heading(name),
                    *of_method,
                    *map(paragraph, (OF_CURVES, explain_thresholds(run, method))),
                ]
            else:
                parts.append(details(name, *of_method))
    if not run.scored_methods:
        parts.append(paragraph("There are no curves, because this run has no sums of its test scores."))
    return section(title, *parts)


def method_title(method: str) -> str:
    """Name a method with its summary."""
    return f"{method}: {METHODS[method].summary}" if method in METHODS else method


def _labels(run: RunRecord) -> str:
    """Say what the labels are, by the rule of the data set."""
    if not run.sites or not run.schema.labels:
        return ""
    meanings = label_meanings(run.schema.dataset)
    names = [f"{label} ({meanings[label]})" if label in meanings else label for label in run.schema.labels]
    rule = next(iter(run.sites.values())).manifest.label_rule
    return paragraph(f"Label{'s' if names[1:] else ''}: {', '.join(names)}. Rule of the data set: {rule}.")


def _averaging(run: RunRecord) -> str:
    """Say over what metrics are averaged, or in which unit they are."""
    if not run.sites:
        return ""
    schema, shown = run.schema, shown_labels(run.schema)
    if schema.task_kind.standardises_labels:
        unit = schema.label_unit or "the unit of the labels"
        return f"Errors are in {unit}, and the {MEAN_LOSS.label} is in standard deviations of the labels."
    if len(shown) > 1:
        return "Metrics are averages over the labels."
    return OF_THE_EVENT.format(event=next(iter(shown.values()))) if len(schema.labels) > 1 else ""


def _method(run: RunRecord, method: str, sums: Arrays) -> list[str]:
    metrics = (TASK_METRICS["auroc"], TASK_METRICS["auprc"], CALIBRATION_ERROR)
    meanings, of_labels = {m.label: m.meaning for m in metrics}, label_meanings(run.schema.dataset)
    rows: list[list[Value]] = []
    for k, label in shown_labels(run.schema).items():
        name, pair = mark_label(label, sums, k), histograms(sums, k)
        counts = sums["task"][k, : len(DECISION_COUNTS) - 1].tolist()
        values = (auroc(*pair), average_precision(*pair), calibration_error(*pair))
        rows.append([name, *counts, *map(metric_cell, metrics, values)])
        if label in of_labels:
            meanings[name] = of_labels[label]
    columns = ["label", *DECISION_COUNTS[:4], *(m.label for m in metrics)]
    points = operating_points_table(run, method)
    return [
        figure_row(*label_figures(run.schema, sums)),
        Table("Results of each label", columns, rows, meanings=meanings).to_html(),
        table_or_folded(points),
        details("Reliability in numbers", reliability_table(run.schema, sums).to_html()),
    ]
