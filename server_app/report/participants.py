"""The section of participants: the sites with their data, and the replies that failed."""

from __future__ import annotations

import math
from collections.abc import Sequence

from condi_core.windows import Schema
from data_partitions.dataset_titles import dataset_title, label_meanings
from data_partitions.description.durations import format_seconds
from data_partitions.manifest import SPLITS
from data_partitions.table import DASH, Cell, Table, Value
from server_app.artifacts.run_record import RunRecord
from server_app.report.markup import (
    Section,
    details,
    meaning_list,
    paragraph,
    percent,
    section,
    site_label,
    table_or_folded,
)

TITLE = "Participating sites"
SPLIT_LABELS = {"train": "training", "val": "validation", "test": "test"}


def participants(run: RunRecord) -> Section:
    if not run.sites:
        return section(TITLE, paragraph("The run has no roster.json: it ended before its sites connected."))
    schema = run.schema
    manifest = next(iter(run.sites.values())).manifest
    length = schema.patches * schema.patch_seconds
    text = (
        f"Data set: {schema.dataset} ({dataset_title(schema.dataset)}), version {manifest.version} (licence: "
        f"{manifest.license}). A window is {format_seconds(length)} long, with {schema.patches} patches of "
        f"{format_seconds(schema.patch_seconds)}, and has {len(schema.names)} modalities. Task: "
        f"{describe_task(schema)} ({manifest.label_rule})."
    )
    some_unlabelled = any(site.labelled != site.manifest.windows for site in run.sites.values())
    shows_labelled = bool(schema.labels) and some_unlabelled
    shows_patients = any(site.patients for site in run.sites.values())
    rows: list[list[Value]] = []
    for name, site in run.sites.items():
        missing = [m.name for m in site.manifest.modalities if not m.present]
        num_present = len(schema.names) - len(missing)
        counts: Sequence[Value] = site.labels["train"] or [None] * len(schema.labels)
        windows = [site.manifest.windows[split] for split in SPLITS]
        present = Cell(f"{num_present} of {len(schema.names)}", num_present)
        labelled = [site.labelled["train"]] if shows_labelled else []
        patients = [site.patients.get(split) for split in SPLITS] if shows_patients else []
        rows.append([name, *patients, *windows, present, ", ".join(missing) or DASH, *labelled, *counts])
    columns = [
        "site",
        *((f"{SPLIT_LABELS[split]} patients" for split in SPLITS) if shows_patients else ()),
        *(f"{SPLIT_LABELS[split]} windows" for split in SPLITS),
        "modalities",
        "missing modalities",
        *(["training windows with labels"] if shows_labelled else []),
    ]
    labels = [f"training windows with {label}" for label in schema.labels]
    meanings = label_meanings(schema.dataset)
    return section(
        TITLE,
        paragraph(text),
        table_or_folded(Table("Sites with their windows and labels", [*columns, *labels], rows)),
        meaning_list({label: meanings.get(label, "") for label in schema.labels}),
        details("Share of each modality that was available in training", _available_shares(run)),
        _failures(run),
    )


def describe_task(schema: Schema) -> str:
    """Name the kind of task, its labels and their unit."""
    if not schema.labels:
        return "none"
    unit = f" in {schema.label_unit}" if schema.label_unit else ""
    return f"{schema.task}, with the label{'s' if schema.labels[1:] else ''} {', '.join(schema.labels)}{unit}"


def _available_shares(run: RunRecord) -> str:
    """Tabulate which share of the training samples was measured and not hidden by simulated missingness."""
    schema = run.schema
    rows: list[list[Value]] = []
    for name, site in run.sites.items():
        patches = site.manifest.windows["train"] * schema.patches
        totals = [patches * m.samples_per_patch for m in schema.modalities]
        counts = site.sums[:, 0]
        shares = [count / total if total else math.nan for count, total in zip(counts, totals, strict=True)]
        rows.append([name, *map(percent, shares)])
    title = "Training samples that were measured and not hidden by simulated missingness"
    return Table(title, ["site", *schema.names], rows).to_html()


def _failures(run: RunRecord) -> str:
    rows = [
        [f"{line.phase}, round {line.round}", site_label(name), reason]
        for line in run.history
        for name, reason in line.failures.items()
    ]
    for phase, replies in (run.result.answered if run.result else {}).items():
        rows += [
            [f"{phase}, test", site_label(name), str(why)]
            for name, why in replies.get("failures", {}).items()
        ]
    if not rows:
        return paragraph("Every site sent a valid reply in every round.")
    return table_or_folded(Table("Sites without a valid reply", ["when", "site", "reason"], rows))
