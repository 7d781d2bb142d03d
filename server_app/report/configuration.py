"""Settings, privacy and versions of the run."""

from __future__ import annotations

from data_partitions.table import Table
from server_app.artifacts.run_record import RunRecord
from server_app.report.markup import details, paragraph, section


def configuration(run: RunRecord) -> tuple[str, str]:
    settings = [[key, shown(value)] for key, value in run.config.items()]
    versions = [[name, str(value)] for name, value in run.versions.items()]
    return section(
        "Configuration",
        paragraph(privacy(run)),
        Table("Versions", ["what", "version"], versions).to_html()
        if versions
        else paragraph("The run has kept no versions."),
        details("All settings", Table("Settings", ["setting", "value"], settings).to_html()),
    )


def privacy(run: RunRecord) -> str:
    """What the run did for privacy, in a sentence or two."""
    config, told = run.config, []
    if config.get("secure-aggregation"):
        told.append("Updates were added up by secure aggregation.")
    if noise := config.get("privacy.noise-multiplier"):
        told.append(f"Averages had noise of {noise:g} times the clipping norm.")
        if run.result and run.result.privacy:
            spent = run.result.privacy
            told.append(
                f"Epsilon is {spent['epsilon']:.3g} at delta {spent['delta']:g}, of the weights alone."
            )
    if least := config.get("privacy.smallest-count"):
        told.append(f"Counts and scores of fewer than {least} patients were withheld.")
    if not told:
        told.append(
            "Records stayed at their sites; secure aggregation, noise and a smallest count were off: the "
            "coordinator saw each site's weights, counts and scores."
        )
    return " ".join(told)


def shown(value: object) -> str:
    """A setting as it is written in a run config."""
    if isinstance(value, bool):
        return str(value).lower()
    return f'"{value}"' if isinstance(value, str) else str(value)
