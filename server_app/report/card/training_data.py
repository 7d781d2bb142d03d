"""The parts of a model card on training: models, dates, data, patients and simulated missingness."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime

from condi_core.methods import METHODS
from condi_core.run_files import RunFileError, read_progress
from data_partitions.dataset_titles import dataset_title, label_meanings
from data_partitions.description.durations import format_seconds
from data_partitions.manifest import SPLITS
from data_partitions.table import Table, Value, escape_markdown
from server_app.artifacts.run_record import RunRecord
from server_app.report.configuration import setting_text
from server_app.report.markup import duration_text
from server_app.report.participants import SPLIT_LABELS, describe_task
from server_app.report.rounds import count_parameters


def models(run: RunRecord) -> list[str]:
    method = run.config["method"]
    summary = METHODS[method].summary if method in METHODS else "a method of another version"
    lines = [
        "## Models",
        "",
        f"- Method `{escape_markdown(method)}`: {escape_markdown(summary)}; seed {run.config['seed']}",
    ]
    files = Counter(model.partition(".")[0] for model in run.parameters())
    for model, count in count_parameters(run).items():
        name = model.partition(",")[0]
        best = run.best_round(name)
        selected = f", weights of round {best}" if best else ""
        file = f"{name}.safetensors" if model == name else f"{name}.SITE.safetensors"
        of_sites = "" if model == name else f", one for each of {files[name]} sites"
        lines.append(f"- `{escape_markdown(file)}`: {count:,} parameters{selected}{of_sites}")
    lines.append(f"- Trained: {training_dates(run)}")
    if run.result is None:
        lines.append("- The run is not finished: this card shows the results so far.")
    return lines


def training_dates(run: RunRecord) -> str:
    """Say when the run was trained, in UTC, and for how long its rounds took."""
    duration = duration_text(sum(line.seconds for line in run.history))
    try:
        progress = read_progress(run.path)
        first, last = (datetime.fromtimestamp(progress[key], UTC) for key in ("started", "written"))
    except (RunFileError, KeyError, TypeError, ValueError, OverflowError, OSError):
        return f"on an unknown date; its rounds took {duration}"
    end = f"{last:%H:%M}" if first.date() == last.date() else f"{last:%Y-%m-%d %H:%M}"
    return f"{first:%Y-%m-%d %H:%M} to {end} UTC; its rounds took {duration}"


def training_data(run: RunRecord) -> list[str]:
    if not run.sites:
        return ["## Training data", "", "No site has taken part yet."]
    schema, manifest = run.schema, next(iter(run.sites.values())).manifest
    modalities = ", ".join(f"{m.name} ({m.unit}, {_rate(m.rate)})" for m in manifest.modalities)
    selection = (
        "the weights of the last round were used"
        if run.is_private
        else "the weights were selected on validation windows"
    )
    described = f", dataset.toml with hash {manifest.description_hash}" if manifest.description else ""
    version = f"{escape_markdown(manifest.version)}{described}"
    lines = [
        "## Training data",
        "",
        f"- Data set: {escape_markdown(schema.dataset)}, version {version}{_title(schema.dataset)}",
        f"- Licence of the data: {escape_markdown(manifest.license)}",
        f"- Window: {format_seconds(schema.patches * schema.patch_seconds)}, "
        f"with {schema.patches} patches of {format_seconds(schema.patch_seconds)}",
        f"- Modalities: {escape_markdown(modalities)}",
        f"- Task: {escape_markdown(describe_task(schema))}{_label_meanings(run)}",
        f"- Label rule: {escape_markdown(manifest.label_rule)}",
        *_labelled_and_covariates(run),
        f"- Splits: by patient within each site; {selection}, and the test windows were scored once",
        "",
    ]
    return [*lines, _sites_table(run).to_markdown()]


def _sites_table(run: RunRecord) -> Table:
    """Return patients, where sites tell how many they have, and windows of each split and site."""
    shows_patients = any(site.patients for site in run.sites.values())
    rows: list[list[Value]] = []
    for name, site in run.sites.items():
        missing = [m.name for m in site.manifest.modalities if not m.present]
        windows = [site.manifest.windows[split] for split in SPLITS]
        patients = [site.patients.get(split) for split in SPLITS] if shows_patients else []
        rows.append([name, *patients, *windows, ", ".join(missing) or "none"])
    if len(rows) > 1:
        columns = list(zip(*rows, strict=True))[1:-1]
        # A total that lacks the sites that withhold their number would be wrong.
        totals = [None if None in column else sum(column) for column in columns]
        rows.append(["all sites", *totals, ""])
    things = ["patients", "windows"] if shows_patients else ["windows"]
    columns_of_splits = [f"{SPLIT_LABELS[split]} {thing}" for thing in things for split in SPLITS]
    return Table("", ["site", *columns_of_splits, "missing modalities"], rows)


def _rate(rate: float) -> str:
    """Write a sampling rate in Hz; a slow one as the time between samples."""
    return f"{rate:g} Hz" if rate >= 1 else f"every {format_seconds(round(1 / rate, 6))}"


def _title(dataset: str) -> str:
    title = dataset_title(dataset)
    return "" if title == dataset else f": {escape_markdown(title)}"


def _label_meanings(run: RunRecord) -> str:
    """Return what the labels stand for, in parentheses, where that is known."""
    meanings = label_meanings(run.schema.dataset)
    texts = [f"{label}: {meanings[label]}" for label in run.schema.labels if label in meanings]
    return f" ({escape_markdown('; '.join(texts))})" if texts else ""


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


def simulated_missingness(run: RunRecord) -> list[str]:
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
