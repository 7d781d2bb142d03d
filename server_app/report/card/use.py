"""The parts of a model card on use: whom the models are for, their limits, contact, citation and loading."""

from __future__ import annotations

import json
from datetime import UTC, datetime

from condi_core.run_files import weights_paths
from data_partitions.table import escape_markdown
from server_app.artifacts.run_record import RunRecord

LIMITS = (
    "The models are for research on the data described here. They are not a medical device, and were not "
    "evaluated on patients of other hospitals.",
    "An imputed sample is an estimate. Check its interval and the measured samples before relying on it.",
    "Missingness was simulated on measured data. Data that are missing for a reason may be harder to impute.",
    "The range over sites is that of single test sets, some of them small. One run does not show the "
    "variation over seeds.",
)
PAPER = "Conditional Imputation for Within-Modality Missingness in Multi-Modal Federated Learning"
TO_BE_FILLED_IN = "**to be filled in by the coordinator**"


def intended_use(run: RunRecord) -> list[str]:
    """State the intended use, the users and the uses that are out of scope."""
    purposes = ["imputing missing samples of windows"] if _has_imputer(run) else []
    if run.sites and run.schema.labels:
        purposes.append(f"predicting {', '.join(run.schema.labels)} from windows with missing samples")
    purpose = " and ".join(purposes) or "comparing methods"
    lines = [
        "## Intended use",
        "",
        f"- Use: research on {escape_markdown(purpose)}, of the modalities, rates and length below.",
        "- Users: researchers, data scientists and engineers who know the data, and can judge an imputed "
        "signal or a prediction before it is used.",
    ]
    if run.sites and run.is_synthetic:
        lines.append("- The data are generated: the models are for trying CondI, and for nothing else.")
    return [
        *lines,
        "",
        "### Out of scope",
        "",
        "- Diagnosis, treatment, triage or alarms for single patients.",
        "- Other hospitals, devices, age groups or wards than those of the training data, without an "
        "evaluation on their own data first (`condi evaluate`).",
        "- Imputed samples as measurements: as labels, in billing, or in a patient's record without a mark.",
        "- Attempts to learn about the training patients from the weights.",
    ]


def loading(run: RunRecord) -> list[str]:
    """Show the lines of Python that load the models and use them."""
    paths = [*weights_paths(run.path, "imputer").items(), *weights_paths(run.path, "task-").items()]
    if not run.sites or not paths:
        return []
    sites = [site for _, site in paths]
    folder = json.dumps(run.name, ensure_ascii=False)
    # Some methods have one model for each site, and loading needs its name.
    site = "" if "" in sites else f", site={json.dumps(sites[0], ensure_ascii=False)}"
    shape = ", ".join(map(str, run.schema.shape))
    calls = ["completed = model.impute(values)"] if _has_imputer(run) else []
    calls += ["prediction = model.predict(values)"] if run.schema.labels else []
    return [
        "## How to load",
        "",
        "```python",
        "from condi_core import load_model",
        f"model = load_model({folder}{site})  # the folder that holds this card",
        *calls,
        "```",
        "",
        f"`values` is an array `(windows, {shape})`: modalities in the order and units below, patches, and "
        "samples of a patch, with NaN where nothing was measured.",
    ]


def limits_of_use() -> list[str]:
    return ["## Limits of use", "", *(f"- {limit}" for limit in LIMITS)]


def contact_and_licence(contact: str, model_license: str) -> list[str]:
    """State the contact and the licence of the models, or ask the coordinator to fill them in."""
    contact_text = escape_markdown(contact) or (
        f"{TO_BE_FILLED_IN}: name, institution and e-mail address of the person who answers questions about "
        'these models (`condi card RUN --contact "..."`)'
    )
    license_text = escape_markdown(model_license) or (
        f"{TO_BE_FILLED_IN}, as the licence of the data and the agreement of the sites allow "
        "(`condi card RUN --license cc-by-4.0`)"
    )
    return [
        "## Contact and licence",
        "",
        f"- Contact: {contact_text}",
        f"- Licence of the models: {license_text}",
    ]


def citation(run: RunRecord) -> list[str]:
    """Say how CondI and its paper are cited, and that the data have a citation of their own."""
    version = "".join(c for c in run.versions.get("condi", "") if c.isalnum() or c in ".+-")
    return [
        "## Citation",
        "",
        "```bibtex",
        "@software{condi,",
        "  title = {CondI: federated learning for clinical time series with missing data},",
        f"  version = {{{version or 'unknown'}}},",
        f"  year = {{{datetime.now(UTC).year}}}",
        "}",
        "@misc{zheng2026conditional,",
        f"  title = {{{PAPER}}},",
        "  author = {Zheng and others},",
        "  year = {2026},",
        "  eprint = {2604.23112},",
        "  archivePrefix = {arXiv}",
        "}",
        "```",
        "",
        "The second is the paper whose method CondI follows. Cite the data as well, as their licence above "
        "states.",
    ]


def _has_imputer(run: RunRecord) -> bool:
    return bool(weights_paths(run.path, "imputer"))
