"""The fields of a manifest that follow from a description alone."""

from __future__ import annotations

from typing import Any

from data_partitions.description.agreed_text import find_agreed_lines
from data_partitions.description.patches import PatchError, PatchPlan, plan_patches
from data_partitions.description.sections import Description
from data_partitions.sources.described.faults import description_error
from data_partitions.sources.described.labels import LabelRule


def plan_windows(description: Description) -> PatchPlan:
    """Return the patches of a window; DataError, with the line, if samples do not fit into them."""
    try:
        return plan_patches(description)
    except PatchError as error:
        raise description_error(description, error.key, str(error)) from None


def manifest_fields(description: Description) -> dict[str, Any]:
    """Return the keyword arguments of `Manifest` that all sites share, with all modalities present.

    DataError when windows have no whole number of samples, or the task lacks what its kind needs.
    """
    plan = plan_windows(description)
    task = description.task
    modalities = [
        {
            "name": name,
            "unit": signal.unit,
            "rate": plan.samples[name] / plan.seconds,
            "samples_per_patch": plan.samples[name],
            "present": True,
            "range": signal.range,
        }
        for name, signal in description.signals.items()
    ]
    return {
        "dataset": description.dataset.name,
        "version": description.dataset.version or "not stated",
        "modalities": modalities,
        "patch_seconds": plan.seconds,
        "patches": plan.patches,
        "labels": LabelRule(description).names,
        "task": task.kind,
        "label_unit": task.unit if task.kind == "regression" else "",
        "label_range": task.range or (0.0 if task.until else None, None),
        "covariates": [
            {"name": name, "unit": c.unit, "categories": tuple(c.categories), "groups": c.groups}
            for name, c in description.covariates.items()
        ],
        "description": description.agreed_text(),
        "description_lines": find_agreed_lines(description),
        "label_rule": task.rule or _describe_labels(description),
        "license": description.dataset.license or "not stated",
    }


def _describe_labels(description: Description) -> str:
    task = description.task
    if task.kind == "none":
        return "none"
    if task.kind == "binary":
        return f"the event is {', '.join(task.event)}, by {task.of}"
    if task.kind == "regression":
        return f"a number for each {task.of}"
    classes = task.classes or {name: task.event for name in task.columns}
    texts = [
        name if tuple(words or (name,)) == (name,) else f"{name} is {', '.join(words)}"
        for name, words in classes.items()
    ]
    return f"{'; '.join(texts)}, by {task.of}"
