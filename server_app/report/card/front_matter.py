"""The front matter of a model card: what the Hugging Face Hub reads of a model, as YAML.

Keys: https://huggingface.co/docs/hub/model-cards
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping
from typing import Any

import yaml

from condi_core.evaluation.catalogue import IMPUTATION_METRICS, TASK_METRICS, Metric, missingness_label
from condi_core.evaluation.imputers import find_own_imputer
from server_app.artifacts.run_record import RunRecord
from server_app.report.imputation import imputation_metric

UNKNOWN_LICENSE = "unknown"  # the Hub's identifier
HUB_TAGS = ("condi", "federated-learning", "flower", "time-series", "missing-data", "healthcare")
# Metrics that the Hub knows by another name.
HUB_METRICS = {"auroc": "roc_auc", "auprc": "average_precision", "kappa": "cohen_kappa", "r2": "r_squared"}


def front_matter(run: RunRecord, model_license: str = "") -> str:
    """Write the front matter of a run's card, between its two lines of dashes.

    Parameters
    ----------
    run : RunRecord
        Finished or not; results that are not finite are omitted.
    model_license : str
        The Hub's identifier of the licence of the models, such as `cc-by-4.0`; empty if it is not decided.

    Returns
    -------
    str
        YAML, which holds texts from sites as plain strings.
    """
    scored = list(_scored_tasks(run))
    content: dict[str, Any] = {
        "license": model_license or UNKNOWN_LICENSE,
        "library_name": "condi",
        "tags": [*HUB_TAGS, *(_task_tag(run) if run.sites else [])],
    }
    if run.sites:
        content["datasets"] = [_identifier(run.schema.dataset)]
    if metrics := dict.fromkeys(metric["type"] for task in scored for metric in task["metrics"]):
        content["metrics"] = list(metrics)
        content["model-index"] = [{"name": run.name, "results": scored}]
    text = yaml.safe_dump(content, sort_keys=False, allow_unicode=True, width=100)
    return f"---\n{text}---"


def _scored_tasks(run: RunRecord) -> Iterator[dict[str, Any]]:
    """Yield the results of imputation by missingness pattern, and those of the run's task."""
    if not run.sites:
        return
    name = run.schema.dataset
    dataset = {"type": _identifier(name), "name": name, "split": "test"}
    for pattern, imputers in run.imputation.items():
        # What draws are for is scored on draws.
        point = find_own_imputer(imputers, run.scope) or ""
        values = {key: imputation_metric(imputers, point, key) for key in ("rmse", "mae")}
        values |= {key: imputation_metric(imputers, "condi, draws", key) for key in ("crps", "coverage")}
        if metrics := _hub_metrics(IMPUTATION_METRICS, values):
            label = missingness_label(pattern)
            task = {"type": "time-series-imputation", "name": f"imputation, {label}"}
            yield {"task": task, "dataset": dataset | {"config": label}, "metrics": metrics}
    if metrics := _hub_metrics(TASK_METRICS, run.task.get(run.config["method"], {})):
        task = {"type": _task_tag(run)[0], "name": f"{run.schema.task_kind.title.lower()} of windows"}
        yield {"task": task, "dataset": dict(dataset), "metrics": metrics}


def _hub_metrics(catalogue: Mapping[str, Metric], values: Mapping[str, float]) -> list[dict[str, Any]]:
    return [
        {"type": HUB_METRICS.get(key, key), "value": round(float(values[key]), 6), "name": metric.label}
        for key, metric in catalogue.items()
        if math.isfinite(values.get(key, math.nan))
    ]


def _task_tag(run: RunRecord) -> list[str]:
    """Name the task for the Hub, if the data have one."""
    return [f"time-series-{run.schema.task_kind.title.lower()}"] if run.schema.labels else []


def _identifier(name: str) -> str:
    """Return a name in the characters of the Hub's identifiers."""
    return re.sub(r"[^a-z0-9._-]+", "-", name.lower()).strip("-.") or "data"
