"""The model card of a run: what its models were trained on, their results, and the limits of their use.

Headings follow Mitchell et al., Model Cards for Model Reporting (FAT* 2019), and the front matter the
Hugging Face Hub. The modules in `card` write the parts.
"""

from __future__ import annotations

from data_partitions.table import escape_markdown
from server_app.artifacts.run_record import RunRecord
from server_app.report.card.front_matter import front_matter
from server_app.report.card.performance import imputation_results, subgroup_results, task_results
from server_app.report.card.training_data import models, simulated_missingness, training_data
from server_app.report.card.use import citation, contact_and_licence, intended_use, limits_of_use, loading
from server_app.report.configuration import privacy_statement


def model_card(run: RunRecord, contact: str = "", model_license: str = "") -> str:
    """Write the model card of a run.

    Parameters
    ----------
    run : RunRecord
        Finished or not; parts that an unfinished run does not have are omitted.
    contact : str
        Who answers questions about the models; empty: the card asks the coordinator to fill it in.
    model_license : str
        Licence of the models by the identifiers of the Hugging Face Hub, such as `cc-by-4.0`; empty as for
        the contact.

    Returns
    -------
    str
        Markdown with YAML front matter.
    """
    versions = [f"- {escape_markdown(k)}: {escape_markdown(v)}" for k, v in run.versions.items()]
    parts = [
        [front_matter(run, model_license)],
        [f"# Model card: {escape_markdown(run.name)}"],
        intended_use(run),
        loading(run),
        models(run),
        training_data(run),
        simulated_missingness(run),
        imputation_results(run),
        task_results(run),
        subgroup_results(run),
        limits_of_use(),
        ["## Privacy", "", escape_markdown(privacy_statement(run))],
        contact_and_licence(contact, model_license),
        citation(run),
        ["## Versions", "", *versions],
    ]
    return "\n\n".join("\n".join(part) for part in parts if part) + "\n"
