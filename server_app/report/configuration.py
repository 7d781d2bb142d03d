"""The section of configuration: settings, privacy and versions of the run."""

from __future__ import annotations

from data_partitions.table import Table
from server_app.artifacts.run_record import RunRecord
from server_app.report.markup import Section, details, folded_section, paragraph


def configuration(run: RunRecord) -> Section:
    settings = [[key, setting_text(value)] for key, value in run.config.items()]
    versions = [[name, str(value)] for name, value in run.versions.items()]
    return folded_section(
        "Configuration",
        paragraph(privacy_statement(run)),
        Table("Software versions", ["software", "version"], versions).to_html(),
        details("All settings", Table("Settings", ["setting", "value"], settings).to_html()),
    )


def privacy_statement(run: RunRecord) -> str:
    """State in a few sentences how the run protected privacy."""
    config = run.config
    sentences = []
    if config.get("secure-aggregation"):
        sentences.append("The updates of the sites were added up by secure aggregation.")
    if noise := config.get("privacy.noise-multiplier"):
        sentences.append(f"Averages have noise of {noise:g} times the clipping norm.")
        if run.result and run.result.privacy:
            budget = run.result.privacy
            sentences.append(
                f"For the weights alone, epsilon is {budget['epsilon']:.3g} at delta {budget['delta']:g}."
            )
    if epsilon := config.get("privacy.patient-epsilon"):
        sentences.append(
            "What sites sent of their training patients has noise, except the numbers of windows: in a run "
            f"without repeated rounds, epsilon is {epsilon:g} at delta {config['privacy.delta']:g} for a "
            "patient."
        )
    if smallest := config.get("privacy.smallest-count"):
        sentences.append(f"Sites withheld counts and scores of fewer than {smallest} patients.")
    if not sentences:
        sentences.append(
            "All records stayed at their sites. Secure aggregation, differential privacy and the withholding "
            "of small counts were off, so that the coordinator saw the weights, counts and scores of each "
            "site."
        )
    return " ".join(sentences)


def setting_text(value: object) -> str:
    """Write the value of a setting as a run config has it."""
    if isinstance(value, bool):
        return str(value).lower()
    return f'"{value}"' if isinstance(value, str) else str(value)
