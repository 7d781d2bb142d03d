"""The model card of a run: what its models were trained on, their results, and the limits of their use.

Headings follow Mitchell et al., Model Cards for Model Reporting (FAT* 2019).
"""

from __future__ import annotations

import math
from collections.abc import Iterator

from condi_core.evaluation.catalogue import (
    IMPUTATION_METRICS,
    TASK_METRICS,
    Metric,
    imputer_label,
    missingness_label,
)
from condi_core.methods import METHODS
from data_partitions.manifest import SPLITS
from data_partitions.table import DASH, Table, Value, escape_markdown
from server_app.artifacts.run_record import RunRecord
from server_app.report.classification import method_title
from server_app.report.configuration import privacy_statement, setting_text
from server_app.report.imputation import imputation_metric, imputers_in_order
from server_app.report.markup import metric_cell
from server_app.report.participants import SPLIT_LABELS, describe_task
from server_app.report.sites import site_metrics, site_rmse
from server_app.report.subgroups import explanation, subgroup_tables

LIMITS = (
    "The models are for research on the data described here. They are not a medical device, and were not "
    "evaluated on patients of other hospitals.",
    "An imputed sample is an estimate. Check its interval and the measured samples before relying on it.",
    "Missingness was simulated on measured data. Data that are missing for a reason may be harder to impute.",
    "The range over sites is that of single test sets, some of them small. One run does not show the "
    "variation over seeds.",
)


def model_card(run: RunRecord) -> str:
    """Write the model card of a run.

    Parameters
    ----------
    run : RunRecord
        Finished or not; parts that an unfinished run does not have are omitted.

    Returns
    -------
    str
        Markdown.
    """
    versions = [f"- {escape_markdown(k)}: {escape_markdown(v)}" for k, v in run.versions.items()]
    parts = [
        [f"# Model card: {escape_markdown(run.name)}"],
        _models(run),
        _data(run),
        _missingness(run),
        _imputation(run),
        _classification(run),
        _subgroups(run),
        ["## Limits of use", "", *(f"- {limit}" for limit in LIMITS)],
        ["## Privacy", "", escape_markdown(privacy_statement(run))],
        ["## Versions", "", *versions],
    ]
    return "\n\n".join("\n".join(part) for part in parts if part) + "\n"


def _models(run: RunRecord) -> list[str]:
    method = run.config["method"]
    summary = METHODS[method].summary if method in METHODS else "a method of another version"
    lines = ["## Models", "", f"- Method `{escape_markdown(method)}`: {summary}; seed {run.config['seed']}"]
    for model, count in run.parameters().items():
        best = run.best_round(model.partition(".")[0])
        selected = f", weights of round {best}" if best else ""
        lines.append(f"- `{escape_markdown(model)}.safetensors`: {count} parameters{selected}")
    if run.result is None:
        lines.append("- The run is not finished: this card shows the results so far.")
    return lines


def _data(run: RunRecord) -> list[str]:
    if not run.sites:
        return ["## Data", "", "No site has taken part yet."]
    schema, manifest = run.schema, next(iter(run.sites.values())).manifest
    modalities = ", ".join(f"{m.name} ({m.unit}, {m.rate:g} Hz)" for m in manifest.modalities)
    selection = (
        "the weights of the last round were used"
        if run.is_private
        else "the weights were selected on validation windows"
    )
    described = f", dataset.toml with hash {manifest.description_hash}" if manifest.description else ""
    version = f"{escape_markdown(manifest.version)}{described}"
    lines = [
        "## Data",
        "",
        f"- Data set: {escape_markdown(schema.dataset)}, version {version}",
        f"- Licence of the data: {escape_markdown(manifest.license)}",
        f"- Window: {schema.patches} patches of {schema.patch_seconds:g} s",
        f"- Modalities: {escape_markdown(modalities)}",
        f"- Task: {escape_markdown(describe_task(schema))}",
        f"- Label rule: {escape_markdown(manifest.label_rule)}",
        *_labelled_and_covariates(run),
        f"- Splits: by patient within each site; {selection}, and the test windows were scored once",
        "",
    ]
    rows: list[list[Value]] = []
    for name, site in run.sites.items():
        missing = [m.name for m in site.manifest.modalities if not m.present]
        windows = [site.manifest.windows[split] for split in SPLITS]
        rows.append([name, *windows, ", ".join(missing) or "none"])
    columns = ["site", *(f"{SPLIT_LABELS[split]} windows" for split in SPLITS), "missing modalities"]
    return [*lines, Table("", columns, rows).to_markdown()]


def _labelled_and_covariates(run: RunRecord) -> Iterator[str]:
    """Yield how many training windows have labels, if not all do, and which covariates there are."""
    labelled = sum(site.labelled["train"] for site in run.sites.values())
    total = sum(site.manifest.windows["train"] for site in run.sites.values())
    if run.schema.labels and labelled < total:
        yield f"- Labels: {labelled} of {total} training windows have labels; phase 2 used these alone"
    if run.schema.covariates:
        names = ", ".join(covariate.name for covariate in run.schema.covariates)
        use = "inputs of the classifier" if run.config.get("task.covariates") else "for subgroups alone"
        yield f"- Covariates: {escape_markdown(names)}; {use}"


def _missingness(run: RunRecord) -> list[str]:
    settings = {k: v for k, v in run.config.items() if k.startswith("missingness.")}
    in_test = run.config.get("test-missingness", "")
    return [
        "## Simulated missingness",
        "",
        "In addition to the samples that the data do not have, windows of all splits have this simulated "
        "missingness:",
        "",
        *(f"- `{escape_markdown(k)} = {escape_markdown(setting_text(v))}`" for k, v in settings.items()),
        *([f"- different in test windows: `{escape_markdown(in_test)}`"] if in_test else []),
    ]


def _imputation(run: RunRecord) -> list[str]:
    if not run.imputation:
        return []
    by_site = site_rmse(run)
    imputers = imputers_in_order(run.imputation)
    rows: list[list[Value]] = []
    for pattern, results in run.imputation.items():
        label = missingness_label(pattern)
        for name in [name for name in imputers if name in results]:
            values = [(m, imputation_metric(results, name, m.name)) for m in IMPUTATION_METRICS.values()]
            numbers = [metric_cell(metric, value) for metric, value in values]
            errors = [of_site.get(pattern, {}).get(name, math.nan) for of_site in by_site.values()]
            rows.append([label, imputer_label(name), *numbers, _range(errors, IMPUTATION_METRICS["rmse"])])
    columns = ["missingness", "imputer", *(metric.label for metric in IMPUTATION_METRICS.values())]
    text = (
        "Scores are on samples of test windows that were hidden from all imputers. Errors are in standard "
        "deviations of the modality."
    )
    table = Table("", [*columns, "RMSE, lowest to highest site"], rows)
    return ["## Imputation", "", text, "", table.to_markdown()]


def _classification(run: RunRecord) -> list[str]:
    if not run.task:
        return []
    metrics = [m for m in TASK_METRICS.values() if any(m.name in values for values in run.task.values())]
    rows: list[list[Value]] = []
    for method, values in run.task.items():
        by_site = site_metrics(run, method).values()
        row: list[Value] = [method_title(method)]
        for metric in metrics:
            text = metric.format(values[metric.name]) if metric.name in values else DASH
            over_sites = _range([of_site.get(metric.name, math.nan) for of_site in by_site], metric)
            row.append(text if over_sites == DASH else f"{text} ({over_sites})")
        rows.append(row)
    text = (
        "Scores are on test windows of all sites together; the lowest and the highest value of a site are in "
        "parentheses."
    )
    table = Table("", ["method", *(metric.label for metric in metrics)], rows)
    return [f"## {run.schema.task_kind.title}", "", text, "", table.to_markdown()]


def _subgroups(run: RunRecord) -> list[str]:
    tables = [f"\n{table.to_markdown()}" for table in subgroup_tables(run, [run.config["method"]])]
    return ["## Subgroups", "", explanation(run), *tables] if tables else []


def _range(values: list[float], metric: Metric) -> str:
    finite = [value for value in values if math.isfinite(value)]
    return f"{metric.format(min(finite))} to {metric.format(max(finite))}" if len(finite) > 1 else DASH
