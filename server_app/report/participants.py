"""Who took part and with what, and who did not answer when."""

from __future__ import annotations

from data_partitions.manifest import SPLITS
from data_partitions.table import DASH, Cell, Table
from server_app.artifacts.run_record import RunRecord
from server_app.report.markup import details, paragraph, percent, section


def participants(run: RunRecord) -> tuple[str, str]:
    if not run.sites:
        return section(
            "Who took part", paragraph("The run has no roster.json: it ended before its sites came.")
        )
    schema = run.schema
    first = next(iter(run.sites.values())).manifest
    length = schema.patches * schema.patch_seconds
    told = (
        f"{schema.dataset}, version {first.version} ({first.license}). A window is {length:g} s in "
        f"{schema.patches} patches of {schema.patch_seconds:g} s, of {len(schema.names)} modalities. "
        f"Task: {schema.task}, labels {', '.join(schema.labels)} ({first.label_rule})."
    )
    rows = []
    for name, site in run.sites.items():
        lacking = [m.name for m in site.manifest.modalities if not m.present]
        has = len(schema.names) - len(lacking)
        counts = site.labels["train"] or [None] * len(schema.labels)
        windows = [site.manifest.windows[split] for split in SPLITS]
        of = Cell(f"{has} of {len(schema.names)}", has)
        rows.append([name, *windows, of, ", ".join(lacking) or DASH, *counts])
    columns = ["site", *(f"windows, {s}" for s in SPLITS), "modalities", "lacks"]
    labels = [f"{label}, train" for label in schema.labels]
    return section(
        "Who took part",
        paragraph(told),
        Table("Sites of the run, with their windows and labels", [*columns, *labels], rows).to_html(),
        details("What of each modality training saw", _seen(run)),
        _absences(run),
    )


def _seen(run: RunRecord) -> str:
    """Share of the grid of training samples that a site has and the run's holes leave."""
    schema, rows = run.schema, []
    for name, site in run.sites.items():
        windows = site.manifest.windows["train"] * schema.patches
        grid = [windows * m.samples_per_patch for m in schema.modalities]
        shares = [
            count / most if most else float("nan") for count, most in zip(site.sums[:, 0], grid, strict=True)
        ]
        rows.append([name, *map(percent, shares)])
    return Table("Training samples observed and not hidden", ["site", *schema.names], rows).to_html()


def _absences(run: RunRecord) -> str:
    rows = [
        [f"{line.phase}, round {line.round}", name, why]
        for line in run.history
        for name, why in line.failures.items()
    ]
    for phase, told in (run.result.answered if run.result else {}).items():
        rows += [[f"{phase}, test", name, str(why)] for name, why in told.get("failures", {}).items()]
    if not rows:
        return paragraph("Every site answered in every round.")
    return Table("Who did not answer", ["when", "site", "why"], rows).to_html()
