"""Loss, metrics and cost of every round: all that history.jsonl holds."""

from __future__ import annotations

import math

from condi_core.evaluation.catalogue import IMPUTER_ROWS, TASK_METRICS
from data_partitions.table import Cell, Table
from server_app.artifacts.run_record import Round, RunRecord
from server_app.report.figures import Series, bars, lines
from server_app.report.markup import details, figure_row, heading, paragraph, seconds, section, size


def training(run: RunRecord) -> tuple[str, str]:
    if not run.history:
        return section("Training", paragraph("No round has been finished."))
    parts = [
        paragraph(
            "Metrics are of validation windows, added up over the sites; the marked round is the one whose "
            "weights were kept. RMSE is in standard deviations of the modality."
        )
    ]
    for phase, rounds in run.phases.items():
        best = run.best_round(phase)
        done = f"{len(rounds)} of {rounds[-1].rounds} rounds"
        parts += [
            heading(f"{phase}: {done}"),
            figure_row(*_figures(phase, rounds)),
            _table(phase, rounds, best),
        ]
    return section("Training", *parts)


def cost(run: RunRecord) -> tuple[str, str]:
    if not run.history:
        return section("Cost", paragraph("No round has been finished."))
    rows, names = [], sorted({name for line in run.history for name in line.site_seconds})
    for phase, rounds in [*run.phases.items(), ("all phases", run.history)]:
        down, up = (size(sum(getattr(line, key) for line in rounds)) for key in ("bytes_down", "bytes_up"))
        spent = [seconds(sum(line.site_seconds.get(name, 0.0) for line in rounds)) for name in names]
        rows.append([phase, len(rounds), seconds(sum(r.seconds for r in rounds)), down, up, *spent])
    models = [[name, count] for name, count in run.parameters().items()]
    columns = ["phase", "rounds", "time", "to sites", "from sites", *(f"{name}, training" for name in names)]
    labels = [line.phase for line in run.history]
    sent = {
        "to sites": [line.bytes_down / 1e6 for line in run.history],
        "from sites": [line.bytes_up / 1e6 for line in run.history],
    }
    return section(
        "Cost",
        figure_row(
            bars("Seconds per round", labels, {"seconds": [line.seconds for line in run.history]}, "s"),
            bars("Megabytes per round, all sites together", labels, sent, "MB"),
        ),
        Table("What the run cost", columns, rows).to_html(),
        paragraph("Bytes are those of the arrays. Every round is in the tables under Training."),
        Table("Numbers in the models", ["model", "parameters"], models).to_html() if models else "",
    )


def _figures(phase: str, rounds: list[Round]) -> list[str]:
    def line(key: str) -> list[tuple[float, float]]:
        return [(r.round, r.metrics.get(key, math.nan)) for r in rounds]

    figures = []
    if len(rounds) > 1 and any(r.metrics for r in rounds):
        loss = [(r.round, r.loss) for r in rounds]
        figures.append(lines(f"{phase}: training loss", [Series("loss", loss)], "round", "loss", whole=True))
        keys = [key for key in dict.fromkeys(k for r in rounds for k in r.metrics) if key != "score"]
        errors = [key for key in keys if key in ("rmse", "linear")]
        label = "RMSE" if errors else "on validation windows"
        names = {name: metric.label for name, metric in TASK_METRICS.items()}
        names |= {"rmse": "imputer", "linear": IMPUTER_ROWS["linear"].label}
        series = [Series(names.get(key, key), line(key)) for key in errors or keys]
        figures.append(lines(f"{phase}: validation", series, "round", label, whole=True))
        if not errors:
            series = [Series("validation loss", line("score"))]
            figures.append(lines(f"{phase}: validation loss", series, "round", "loss", whole=True))
    return figures


def _labels() -> dict[str, str]:
    """Labels of the numbers of a round by their keys, in the order of columns."""
    return {
        "loss": "loss",
        "metrics.score": "score",
        "metrics.rmse": "RMSE",
        "metrics.linear": "RMSE, linear",
        **{f"metrics.{name}": metric.label for name, metric in TASK_METRICS.items()},
        "windows": "windows trained",
        "seconds": "time",
        "train-seconds": "of it training",
        "bytes-down": "to sites",
        "bytes-up": "from sites",
    }


def _table(phase: str, rounds: list[Round], best: int | None) -> str:
    numbers = [line.numbers() for line in rounds]
    present = dict.fromkeys(key for found in numbers for key in found)
    labels = _labels()
    keys = [key for key in labels if key in present]
    sites = [key for key in present if key.startswith("site-seconds.")]
    rest = [key for key in present if key not in keys and key not in sites]

    def rows(columns: list[str]) -> list[list]:
        shown = []
        for line, found in zip(rounds, numbers, strict=True):
            here = Cell(str(line.round), line.round, "best" if line.round == best else "")
            shown.append([here, *(_shown(key, found.get(key)) for key in columns)])
        return shown

    columns = keys + rest
    named = [labels.get(key, key.removeprefix("metrics.")) for key in columns]
    each = [key.removeprefix("site-seconds.") for key in sites]
    return Table(f"{phase}, round by round", ["round", *named], rows(columns)).to_html() + details(
        "Seconds that each site trained",
        Table(f"{phase}, seconds of each site", ["round", *each], rows(sites)).to_html(),
    )


def _shown(key: str, value: float | None):
    if value is None:
        return None
    if key.startswith("bytes"):
        return size(value)
    return seconds(value) if "seconds" in key else value
