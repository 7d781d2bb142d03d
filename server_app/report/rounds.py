"""The sections of training and cost: loss, metrics, time and bytes of every round."""

from __future__ import annotations

import math

from condi_core.evaluation.catalogue import IMPUTATION_METRICS, MEAN_LOSS, TASK_METRICS
from condi_core.evaluation.imputers import imputer_label
from data_partitions.table import Cell, Table, Value
from server_app.artifacts.run_record import Round, RunRecord
from server_app.report.figures import Series, bars, lines
from server_app.report.markup import (
    Section,
    details,
    figure_row,
    folded_section,
    heading,
    metric_cell,
    paragraph,
    seconds,
    site_label,
    size,
)

NO_ROUND = "No round is complete."


def training(run: RunRecord) -> Section:
    if not run.history:
        return folded_section("Training", paragraph(NO_ROUND))
    parts = [
        paragraph(
            "A run has these phases: relation estimates how the modalities vary together, imputer trains the "
            "imputer, and task-<method> trains the classifier of a method; -local stands for local training "
            "and -pooled for centralised training. Metrics are computed on the validation windows of all "
            "sites together. The asterisk (*) marks the round whose weights were selected, "
            f"{_explain_selection(run)}. The RMSE of an imputer is in standard deviations of the modality."
        )
    ]
    if any(line.loss is None for line in run.history):
        parts.append(
            paragraph("The training loss is withheld: it has no noise that would protect the patients.")
        )
    for phase, rounds in run.phases.items():
        parts += [
            heading(f"{phase}: {len(rounds)} of {rounds[-1].rounds} rounds"),
            figure_row(*_figures(phase, rounds)),
            _tables(phase, rounds, run.best_round(phase)),
        ]
    return folded_section("Training", *parts)


def _explain_selection(run: RunRecord) -> str:
    if run.is_private:
        return "the last one, as the choice by scores would reveal something of the patients"
    return (
        "by the smallest selection score: the median over sites of the validation loss, and of the RMSE of "
        "an imputer, or with too few sites for a majority that of all windows"
    )


def cost(run: RunRecord) -> Section:
    if not run.history:
        return folded_section("Cost", paragraph(NO_ROUND))
    sites = sorted({name for line in run.history for name in line.site_seconds})
    rows: list[list[Value]] = []
    for phase, rounds in [*run.phases.items(), ("all phases", run.history)]:
        down, up = (size(sum(getattr(line, key) for line in rounds)) for key in ("bytes_down", "bytes_up"))
        by_site = [seconds(sum(line.site_seconds.get(name, 0.0) for line in rounds)) for name in sites]
        rows.append([phase, len(rounds), seconds(sum(r.seconds for r in rounds)), down, up, *by_site])
    columns = [
        "phase",
        "rounds",
        "time",
        "sent to sites",
        "received",
        *(f"training, {site_label(s)}" for s in sites),
    ]
    models: list[list[Value]] = [
        [name, Cell(f"{count:,}", count)] for name, count in count_parameters(run).items()
    ]
    phases = [line.phase for line in run.history]
    megabytes = {
        "sent to sites": [line.bytes_down / 1e6 for line in run.history],
        "received from sites": [line.bytes_up / 1e6 for line in run.history],
    }
    return folded_section(
        "Cost",
        figure_row(
            bars("Duration of each round", phases, {"seconds": [r.seconds for r in run.history]}, "time (s)"),
            bars("Data exchanged with all sites in each round", phases, megabytes, "data (MB)"),
        ),
        Table("Cost of each phase", columns, rows).to_html(),
        paragraph("Sizes are those of the arrays. The tables of the section Training have every round."),
        Table("Size of the models", ["model", "parameters"], models).to_html() if models else "",
    )


def count_parameters(run: RunRecord) -> dict[str, int]:
    """Return the number of parameters of each model; those that every site has for itself are one model."""
    counts = {}
    for model, count in run.parameters().items():
        name, _, site = model.partition(".")
        counts[f"{name}, one for each site" if site else name] = count
    return counts


def _figures(phase: str, rounds: list[Round]) -> list[str]:
    if len(rounds) < 2 or not any(r.metrics for r in rounds):
        return []

    def points(key: str) -> list[tuple[float, float]]:
        return [(r.round, r.metrics.get(key, math.nan)) for r in rounds]

    figures = []
    if losses := [(r.round, r.loss) for r in rounds if r.loss is not None]:
        loss = [Series("loss", losses)]
        figures.append(lines(f"{phase}: training loss", loss, "round", MEAN_LOSS.label, integers=True))
    keys = [key for key in dict.fromkeys(k for r in rounds for k in r.metrics) if key != MEAN_LOSS.name]
    errors = [key for key in keys if key in ("rmse", "linear")] if phase.startswith("imputer") else []
    names = {name: metric.label for name, metric in TASK_METRICS.items()}
    names |= {"rmse": "imputer", "linear": imputer_label("linear")}
    series = [Series(names.get(key, key), points(key)) for key in errors or keys]
    y_label = IMPUTATION_METRICS["rmse"].label if errors else "metric"
    figures.append(lines(f"{phase}: validation", series, "round", y_label, integers=True))
    if not errors:
        loss = [Series(MEAN_LOSS.label, points(MEAN_LOSS.name))]
        figures.append(lines(f"{phase}: validation loss", loss, "round", MEAN_LOSS.label, integers=True))
    return figures


def _labels() -> dict[str, str]:
    """Label the numbers of a round by their keys, in the order of columns."""
    return {
        "loss": "training loss",
        "metrics.score": "validation loss",
        "selection-score": "selection score",
        "metrics.rmse": "RMSE",
        "metrics.linear": f"RMSE, {imputer_label('linear')}",
        **{f"metrics.{name}": metric.label for name, metric in TASK_METRICS.items()},
        "windows": "training windows",
        "sites-asked": "sites asked",
        "seconds": "time",
        "train-seconds": "of which training",
        "bytes-down": "sent to sites",
        "bytes-up": "received from sites",
    }


def _tables(phase: str, rounds: list[Round], best: int | None) -> str:
    numbers = [line.numbers() for line in rounds]
    present = dict.fromkeys(key for row in numbers for key in row)
    if phase.startswith("imputer"):
        present.pop("metrics.score", None)  # the same number
    if phase.startswith("relation"):
        present.pop("loss", None)  # it adds up sums
    labels = _labels()
    site_keys = [key for key in present if key.startswith("site-seconds.")]
    keys = [key for key in labels if key in present]
    keys += [key for key in present if key not in keys and key not in site_keys]

    def rows(columns: list[str]) -> list[list[Value]]:
        return [
            [
                Cell(str(line.round), line.round, "best" if line.round == best else ""),
                *(_cell(key, row.get(key)) for key in columns),
            ]
            for line, row in zip(rounds, numbers, strict=True)
        ]

    names = [labels.get(key, key.removeprefix("metrics.")) for key in keys]
    sites = [site_label(key.removeprefix("site-seconds.")) for key in site_keys]
    return Table(f"{phase}, every round", ["round", *names], rows(keys)).to_html() + details(
        "Training time of each site",
        Table(f"{phase}, training time of each site", ["round", *sites], rows(site_keys)).to_html(),
    )


def _cell(key: str, value: float | None) -> Value:
    if value is None:
        return None
    if key.startswith("bytes"):
        return size(value)
    if "seconds" in key:
        return seconds(value)
    if key == "loss" or key.endswith("score"):
        return Cell(f"{value:.4f}", value) if math.isfinite(value) else None
    if key in ("metrics.rmse", "metrics.linear"):
        return metric_cell(IMPUTATION_METRICS["rmse"], value)
    metric = TASK_METRICS.get(key.removeprefix("metrics."))
    return metric_cell(metric, value) if metric else value
