"""The first screen of a report: the verdict in a sentence, the key numbers, and the facts of the run."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from itertools import islice
from typing import Any, NamedTuple

from condi_core.evaluation.catalogue import IMPUTATION_METRICS, metrics_of_task, missingness_label
from condi_core.evaluation.imputers import imputer_label
from condi_core.run_files import RunFileError, read_progress
from data_partitions.dataset_titles import dataset_title
from data_partitions.manifest import Split
from data_partitions.table import escape_html
from server_app.artifacts.estimates import combine
from server_app.artifacts.run_estimates import ALL_PATTERNS, MIN_PATIENTS, has_enough_patients
from server_app.artifacts.run_record import RunRecord
from server_app.report.classification import method_title
from server_app.report.findings import Findings
from server_app.report.imputation import expect_coverage
from server_app.report.markup import duration_text, estimate_text, fact_list, paragraph, percent_text

MAX_KEY_NUMBERS = 4
SPLIT_NAMES: dict[Split, str] = {"train": "training", "test": "test"}


class KeyNumber(NamedTuple):
    """A number of the first screen, with its interval in parentheses."""

    name: str
    text: str
    note: str = ""


def overview(findings: Findings) -> str:
    """Return the key numbers and the facts as HTML."""
    numbers = "".join(
        f'<dl class="number"><dt>{escape_html(number.name)}</dt>'
        f'<dd class="value">{_with_small_interval(number.text)}</dd>'
        f'<dd class="note">{escape_html(number.note)}</dd></dl>'
        for number in islice(_key_numbers(findings), MAX_KEY_NUMBERS)
    )
    note = paragraph(interval_note(findings.run))
    return f'<div class="numbers">{numbers}</div>{note}{fact_list(facts(findings.run))}'


def interval_note(run: RunRecord) -> str:
    """Say what the intervals are of, or why there are none."""
    if run.replicates and not has_enough_patients(run, run.sites):
        return (
            f"There are no intervals: with fewer than {MIN_PATIENTS} test patients they would be too narrow."
        )
    if run.replicates:
        return (
            "In parentheses: 95 % intervals over the test patients. For them, sites send sums over patients, "
            "each multiplied by a random number of the patient. Intervals of labels that few patients have "
            "are too narrow. They do not show the variation over seeds and over hospitals that took no part."
        )
    if not run.sums:
        return ""
    protected = run.config.get("secure-aggregation") or run.is_private
    return (
        "There are no intervals, because sites send nothing for them in runs with secure aggregation or "
        "differential privacy."
        if protected
        else "There are no intervals, because the run is of a version in which sites sent nothing for them."
    )


def verdict(findings: Findings) -> str:
    """Say in one sentence what the run shows, and before its end in which state it is."""
    run, sentences = findings.run, []
    if run.result is None:
        line = run.history[-1] if run.history else None
        last = f"its last round was {line.phase}, round {line.round}" if line else "no round is complete"
        sentences.append(f"The run is not finished: {last}. This report shows what there is so far.")
    if text := "; ".join(_clauses(findings)):
        sentences.append(f"{text[0].upper()}{text[1:]}.")
    return " ".join(sentences)


def _clauses(findings: Findings) -> Iterator[str]:
    if improvement := findings.improvement:
        share = improvement.share
        low, high = share.interval or (share.value, share.value)
        if abs(share.value) < 0.005 or low <= 0 <= high:
            yield f"imputation error is about that of {imputer_label('linear')}"
        else:
            size = percent_text(abs(share.value), 0)
            direction = "lower" if share.value > 0 else "higher"
            yield f"imputation error is {size} {direction} than that of {imputer_label('linear')}"
    if findings.task:
        metric, schema = findings.primary, findings.run.schema
        if estimate := findings.task.get(metric.name):
            model = "classifier" if schema.task_kind.title == "Classification" else "regression"
            unit = f" {schema.label_unit}" if schema.label_unit else ""
            yield f"the {model} reaches {metric.label} {estimate_text(metric, estimate)}{unit}"
    if gains := findings.ranked_gains:
        differences = [gain.difference for gain in gains.values()]
        better = sum(difference.value > 0 for difference in differences)
        label = next(iter(gains.values())).metric.label
        of_sites = f"{better or 'none'} of {len(gains)} {'sites' if len(gains) > 1 else 'site'}"
        intervals = [difference.interval for difference in differences if difference.interval]
        above, below = (sum(sign * low > 0 < sign * high for low, high in intervals) for sign in (1, -1))
        text = f"compared with training alone, {label} is better at {of_sites}"
        text += f" (interval above zero at {above or 'none'})" if intervals and better else ""
        if worse := sum(difference.value < 0 for difference in differences):
            text += f" and worse at {worse}"
            text += f" (interval below zero at {below or 'none'})" if intervals else ""
        yield text


def _key_numbers(findings: Findings) -> Iterator[KeyNumber]:
    """Yield the key numbers, the most important first."""
    rmse, coverage = IMPUTATION_METRICS["rmse"], IMPUTATION_METRICS["coverage"]
    if improvement := findings.improvement:
        change = combine(lambda share: -share, improvement.share)
        interval = change.interval
        ends = f" ({' to '.join(map(_signed_percent, interval))})" if interval else ""
        yield KeyNumber(
            f"Imputation error, compared with {imputer_label('linear')}",
            _signed_percent(change.value) + ends,
            f"{rmse.label} {rmse.format(improvement.error.value)} instead of "
            f"{rmse.format(improvement.naive_error.value)} standard deviations",
        )
    metrics = _task_numbers(findings)
    yield from islice(metrics, 1)
    if gains := findings.ranked_gains:
        differences = [gain.difference for gain in gains.values()]
        mean = combine(lambda *values: sum(values) / len(values), *differences)
        better = sum(difference.value > 0 for difference in differences)
        metric = next(iter(gains.values())).metric
        yield KeyNumber(
            f"Gain in {metric.label} over training alone",
            estimate_text(metric, mean, signed=True),
            f"mean of {len(gains)} site{'s'[: len(gains) > 1]}; {better} of {len(gains)} gain",
        )
    if draws := findings.imputation.get(ALL_PATTERNS, {}).get("condi, draws"):
        text = estimate_text(coverage, draws["coverage"])
        note = expect_coverage(findings.run) or coverage.meaning
        yield KeyNumber("Hidden samples in their 90 % interval", text, note)
    yield from metrics
    for pattern, rows in findings.imputation.items():
        if pattern != ALL_PATTERNS and "condi" in rows:
            text = estimate_text(rmse, rows["condi"]["rmse"])
            yield KeyNumber(f"Imputation {rmse.label}, {missingness_label(pattern)}", text, rmse.meaning)


def _task_numbers(findings: Findings) -> Iterator[KeyNumber]:
    schema = findings.run.schema if findings.task else None
    for metric in metrics_of_task(schema.task) if schema else ():
        if estimate := findings.task.get(metric.name):
            in_unit = schema and schema.label_unit and metric.name in ("mae", "rmse")
            note = f"{metric.meaning}, in {schema.label_unit}" if schema and in_unit else metric.meaning
            yield KeyNumber(metric.label, estimate_text(metric, estimate), note)


def facts(run: RunRecord) -> dict[str, str]:
    """Return what was trained, on whose data, when, and in which state the run is."""
    progress = _progress(run)
    result = {"Data": dataset_title(run.schema.dataset) if run.sites else "none yet"}
    if run.sites:
        windows = {split: sum(s.manifest.windows[split] for s in run.sites.values()) for split in SPLIT_NAMES}
        result |= {
            "Sites": str(len(run.sites)),
            "Patients": _count_patients(run),
            "Windows": ", ".join(f"{n:,} {SPLIT_NAMES[split]}" for split, n in windows.items()),
        }
    result["Method"] = method_title(run.config["method"])
    if progress:
        result["Date"] = f"{datetime.fromtimestamp(progress['started']).astimezone():%Y-%m-%d %H:%M %Z}"
    if run.history:
        seconds = sum(line.seconds for line in run.history)
        if progress:
            seconds = max(seconds, progress["written"] - progress["started"])
        result["Duration"] = duration_text(seconds)
    result["Status"] = _status(run, progress)
    result["Seed"] = str(run.config["seed"])
    return {name: fact for name, fact in result.items() if fact}


def _count_patients(run: RunRecord) -> str:
    """Return the patients of all sites; "" where none tells theirs."""
    parts = []
    for split, name in SPLIT_NAMES.items():
        counts = [site.patients.get(split) for site in run.sites.values()]
        known = [count for count in counts if count is not None]
        if known:
            withheld = f" (of {len(known)} sites)" if len(known) < len(counts) else ""
            parts.append(f"{sum(known):,} {name}{withheld}")
    return ", ".join(parts)


def _status(run: RunRecord, progress: dict[str, Any]) -> str:
    if run.result is not None:
        return "completed"
    status, reason = progress.get("status", "running"), progress.get("reason")
    return f"{status}: {reason}" if reason else f"not finished ({status})"


def _progress(run: RunRecord) -> dict[str, Any]:
    """Return when the run started and was last heard of; empty where no valid file says so."""
    try:
        progress = read_progress(run.path)
    except RunFileError:
        return {}
    times = (progress.get("started"), progress.get("written"))
    return progress if all(isinstance(t, int | float) and 0 < t < 1e11 for t in times) else {}


def _signed_percent(value: float) -> str:
    return f"{'−' if value < 0 else '+'}{percent_text(abs(value), 0)}"


def _with_small_interval(text: str) -> str:
    """Set the interval, which is in parentheses, in smaller type."""
    value, parenthesis, interval = text.partition(" (")
    small = f' <span class="interval">({escape_html(interval)}</span>' if parenthesis else ""
    return escape_html(value) + small
