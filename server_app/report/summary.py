"""The tables at the end of a run, for the terminal."""

from __future__ import annotations

from pathlib import Path

from condi_core.config import RunConfig
from condi_core.methods import METHODS
from condi_core.windows import Schema
from server_app.artifacts.scores import IMPUTER_LABELS


def summary_table(result: dict, schema: Schema, config: RunConfig, path: Path) -> str:
    """The tables at the end of a run, 80 columns wide."""
    out = []
    if kinds := result["imputation"]:
        out += ["", "Imputation of test windows: RMSE (and CRPS) in standard deviations"]
        out.append(f"  {'':<24}" + "".join(f"{kind:>17}" for kind in kinds))
        for method, label in IMPUTER_LABELS.items():
            found = [methods.get(method) for methods in kinds.values()]
            if all(found):
                out.append(f"  {label:<24}" + "".join(f"{m['rmse']:>9.3f} ({m['crps']:.3f})" for m in found))
        covered = [m["condi, draws"]["coverage"] for m in kinds.values() if "condi, draws" in m]
        if covered:
            n = config.imputer.samples
            out.append(f"  {'inside the 90 % band':<24}" + "".join(f"{c:>16.0%} " for c in covered))
            if n < 19:
                out.append(
                    f"  ({(n - 1) / (n + 1):.0%} would be right, as the band of {n} draws ends with them)"
                )
    out += ["", f"Classification of test windows ({', '.join(schema.labels)}; {schema.task})"]
    labels = {"auroc": "AUROC", "auprc": "AUPRC", "f1": "F1", "accuracy": "acc.", "kappa": "kappa"}
    shown = {key: labels[key] for key in schema.task_kind.metric_names}
    out.append(f"  {'':<37}" + "".join(f"{name:>8}" for name in shown.values()))
    for method, metrics in result["task"].items():
        label = f"{method}: {METHODS[method].summary}"
        out.append(f"  {label:<37}" + "".join(f"{metrics[key]:>8.3f}" for key in shown))
    if schema.ordered:
        out.append("  (kappa with linear weights)")
    if privacy := result.get("privacy"):
        out += [
            "",
            f"Differential privacy of a site: epsilon {privacy['epsilon']:.3g} at delta {privacy['delta']:g}"
            f" ({privacy['averages']} averages,",
            f"  noise {privacy['noise-multiplier']:g} times the clipping norm), of the weights alone: sums to"
            " standardise by,",
            "  losses and scores, of every round and in this table, are told without noise",
        ]
    for name, told in result["answered"].items():
        out += [
            f"  not in the test scores of {name}: {site} ({why})" for site, why in told["failures"].items()
        ]
    return "\n".join([*out, "", f"Artefacts: {path}"])
