"""The model card of a run: what its models were made from, how they did, and what they are not for.

Headings follow Mitchell et al., Model Cards for Model Reporting (FAT* 2019).
"""

from __future__ import annotations

import math

from condi_core.evaluation.catalogue import (
    IMPUTATION_METRICS,
    IMPUTER_ROWS,
    TASK_METRICS,
    imputer_label,
    missingness_label,
)
from condi_core.methods import METHODS
from data_partitions.manifest import SPLITS
from data_partitions.table import Table, escape_markdown
from server_app.artifacts.run_record import RunRecord
from server_app.report.configuration import privacy, shown
from server_app.report.sites import site_metrics, site_rmse

LIMITS = (
    "For research on the data described here; not a medical device, nor tried on patients elsewhere.",
    "An imputed sample is an estimate: look at its band, and at what was seen, before relying on it.",
    "Holes were simulated on measured data; what is missing in practice for a reason may be harder.",
    "Spread over sites is that of single test sets, some small; one run tells no spread over seeds.",
)


def model_card(run: RunRecord) -> str:
    """The card in Markdown; of an unfinished run what there is."""
    parts = [
        [f"# Model card: {escape_markdown(run.name)}"],
        _models(run),
        _data(run),
        _holes(run),
        _imputation(run),
        _task(run),
        ["## Limits of use", "", *(f"- {limit}" for limit in LIMITS)],
        ["## Privacy", "", escape_markdown(privacy(run))],
        [
            "## Versions",
            "",
            *(
                f"- {escape_markdown(name)}: {escape_markdown(version)}"
                for name, version in run.versions.items()
            ),
        ],
    ]
    return "\n\n".join("\n".join(part) for part in parts if part) + "\n"


def _models(run: RunRecord) -> list[str]:
    lines = ["## Models", ""]
    for model, count in run.parameters().items():
        best = run.best_round(model.partition(".")[0])
        kept = f", weights of round {best}" if best else ""
        lines.append(f"- `{escape_markdown(model)}.safetensors`: {count} parameters{kept}")
    if run.result is None:
        lines.append("- The run is not finished: figures are of what had been scored.")
    method = run.config["method"]
    told = METHODS[method].summary if method in METHODS else "a method of another version"
    return [*lines, f"- Method `{escape_markdown(method)}`: {told}; seed {run.config['seed']}."]


def _data(run: RunRecord) -> list[str]:
    if not run.sites:
        return ["## Data", "", "No site took part."]
    schema = run.schema
    first, noise = next(iter(run.sites.values())).manifest, run.config.get("privacy.noise-multiplier")
    lines = [
        "## Data",
        "",
        f"- Data set: {escape_markdown(schema.dataset)}, version {escape_markdown(first.version)}",
        f"- Licence of the data: {escape_markdown(first.license)}",
        f"- Window: {schema.patches} patches of {schema.patch_seconds:g} s; modalities "
        + escape_markdown(", ".join(f"{m.name} ({m.unit}, {m.rate:g} Hz)" for m in first.modalities)),
        f"- Task: {schema.task}, labels {escape_markdown(', '.join(schema.labels))}",
        f"- Label rule: {escape_markdown(first.label_rule)}",
        "- Splits: by patient within each site; test was scored once, "
        + ("the last round was kept" if noise else "validation chose the round"),
        "",
    ]
    rows = []
    for name, site in run.sites.items():
        lacking = [m.name for m in site.manifest.modalities if not m.present]
        rows.append([name, *(str(site.manifest.windows[s]) for s in SPLITS), ", ".join(lacking) or "nothing"])
    return lines + _table(["site", *(f"{s} windows" for s in SPLITS), "lacks"], rows)


def _holes(run: RunRecord) -> list[str]:
    made = {k: v for k, v in run.config.items() if k.startswith("missingness.")}
    changed = run.config.get("test-missingness", "")
    return [
        "## Simulated missingness",
        "",
        "In training, validation and classification, on top of what the data lack by nature:",
        "",
        *(f"- `{escape_markdown(key)} = {escape_markdown(shown(value))}`" for key, value in made.items()),
        *([f"- in test windows otherwise: `{escape_markdown(changed)}`"] if changed else []),
    ]


def _imputation(run: RunRecord) -> list[str]:
    if not run.imputation:
        return []
    by_site = site_rmse(run)
    rows = []
    for kind, methods in run.imputation.items():
        label = missingness_label(kind)
        for method in [
            *(m for m in IMPUTER_ROWS if m in methods),
            *(m for m in methods if m not in IMPUTER_ROWS),
        ]:
            name, row, values = imputer_label(method), IMPUTER_ROWS.get(method), methods[method]
            spread = _spread([rmse.get(f"{label}, {name}", math.nan) for rmse in by_site.values()])
            numbers = [
                "–" if m.of_draws and not (row and row.draws) else m.format(values[m.name])
                for m in IMPUTATION_METRICS.values()
            ]
            rows.append([label, name, *numbers, spread])
    told = "On cells of test windows hidden from every row alike, in standard deviations of the modality."
    columns = [
        "missingness",
        "",
        *(m.label for m in IMPUTATION_METRICS.values()),
        "RMSE, lowest to highest site",
    ]
    return ["## Imputation", "", told, "", *_table(columns, rows)]


def _task(run: RunRecord) -> list[str]:
    if not run.task:
        return []
    keys = [key for key in TASK_METRICS if any(key in found for found in run.task.values())]
    rows = []
    for method, found in run.task.items():
        by_site = site_metrics(run, method).values()
        cells = []
        for key in keys:
            spread = _spread([told.get(key, math.nan) for told in by_site])
            value = TASK_METRICS[key].format(found[key]) if key in found else "–"
            cells.append(f"{value} ({spread})" if spread != "–" else value)
        told = METHODS[method].summary if method in METHODS else ""
        rows.append([f"{method}: {told}" if told else method, *cells])
    told = "On test windows of all sites together; in brackets the lowest and the highest site."
    return [
        "## Classification",
        "",
        told,
        "",
        *_table(["method", *(TASK_METRICS[k].label for k in keys)], rows),
    ]


def _spread(values: list[float]) -> str:
    known = [v for v in values if math.isfinite(v)]
    return f"{min(known):.3f} to {max(known):.3f}" if len(known) > 1 else "–"


def _table(columns: list[str], rows: list[list[str]]) -> list[str]:
    return [Table("", columns, rows).to_markdown()]
