"""Measure what differential privacy of patients costs: errors of imputation and AUROC by epsilon.

    python benchmarks/privacy.py --federation FOLDER [--ranges "mV=-10:10"] [--seeds 0 1 2] [--without-auroc]
        [--default-missingness]

FOLDER is a federation of `condi prepare`. The sites' and the coordinator's functions run in one process,
phase 1 without its network: RMSE is that of the closed-form estimate on some test windows of each site, in
standard deviations of the exact training samples. AUROC is of the classifier on windows as they are, since
completing all windows anew for each row would take most of the time; its noise is that of a run with the
relation. By default nothing is hidden beyond what the source lacks. Rows are no privacy (EM, as a run does
it), the private estimator without noise, each epsilon, no relation, and differential privacy of sites.
Prints a table after each seed, mean ± sample standard deviation, and one JSON line.
"""

from __future__ import annotations

import argparse
import json
import math
import tempfile
import tomllib
from collections import defaultdict
from pathlib import Path

import numpy as np
import torch

from client_app.node import imputer_phase, private_releases, task_phase
from client_app.node.patients import Patients, plan_of_site
from client_app.node.site import Site
from condi_core.averaging import SiteUpdate, average
from condi_core.config import RunConfig, flatten
from condi_core.evaluation.catalogue import ERROR_SUMS
from condi_core.imputer.imputer import DiffusionImputer
from condi_core.imputer.relation_estimate import estimate_cross_spectrum
from condi_core.imputer.scoring import error_sums_by_block
from condi_core.methods import METHODS
from condi_core.ownership import ownership
from condi_core.privacy.relation import floor_at_noise
from condi_core.training import cosine_rate, derive_seed
from condi_core.windows import mean_and_std
from data_partitions.federation import open_federation
from server_app.federation.differential_privacy import compute_site_epsilon, private_average
from server_app.federation.standardising_sums import combine_sums

SETTINGS = {
    "method": "estimate", "compare-with": "", "imputer.width": 2, "imputer.heads": 1, "imputer.blocks": 1,
    "imputer.relation-rounds": 2, "task.width": 32, "task.rounds": 8, "task.steps": 2, "task.batch": 300,
    "task.learning-rate": 0.01,
}  # fmt: skip
# With differential privacy of patients heads alone are trained, in large SGD steps.
OF_PATIENTS = {"task.optimizer": "sgd", "task.learning-rate": 3.0}
NOTHING_HIDDEN = {"missingness.points": 0.0, "missingness.gaps": 0.0, "missingness.modality-by-window": 0.0}
NO_NOISE = 1e3  # an epsilon whose noise is negligible
SITE_NOISE = 1.0  # noise multiplier of the row of site-level privacy
TEST_WINDOWS = 24  # of each site, for the RMSE


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--federation", type=Path, required=True)
    parser.add_argument("--ranges", default="")
    parser.add_argument("--seeds", type=int, nargs="*", default=[0, 1, 2])
    parser.add_argument("--without-auroc", action="store_true", help="train no classifier")
    parser.add_argument("--default-missingness", action="store_true", help="hide what a run hides")
    parser.add_argument("--epsilons", type=float, nargs="*", default=[8.0, 3.0, 1.0])
    options = parser.parse_args()
    torch.set_num_threads(1)
    rows = {
        "no privacy": {},
        "private estimator, no noise": {"privacy.patient-epsilon": NO_NOISE} | OF_PATIENTS,
    }
    rows |= {f"epsilon {e:g}": {"privacy.patient-epsilon": e} | OF_PATIENTS for e in options.epsilons}
    rows |= {"no relation": {"imputer.relation-rounds": 0}}
    rows |= {"noise of sites": {"imputer.relation-rounds": 0, "privacy.noise-multiplier": SITE_NOISE}}
    results: dict[str, list[dict[str, float]]] = defaultdict(list)
    for seed in options.seeds:
        for name, changes in rows.items():
            results[name].append(measure(options, changes, seed))
            print(seed, name, results[name][-1], flush=True)
        print(table(results), flush=True)
    print(json.dumps(results))


def measure(options: argparse.Namespace, changes: dict, seed: int) -> dict[str, float]:
    """Return the metrics of one run."""
    project = tomllib.loads((Path(__file__).parents[1] / "pyproject.toml").read_text())
    defaults = flatten(project["tool"]["flwr"]["app"]["config"])
    missingness = {} if options.default_missingness else NOTHING_HIDDEN
    chosen = {"seed": seed, "privacy.value-ranges": options.ranges} | changes
    settings = defaults | SETTINGS | missingness | chosen
    config = RunConfig.from_flat(settings)
    opened = open_federation(options.federation)
    with tempfile.TemporaryDirectory() as cache:
        parts = [(name, opened.open_site(name, check=False)) for name in opened.sites]
        sites = [Site(name, part, config, torch.device("cpu"), Path(cache)) for name, part in parts]
        is_private = bool(config.privacy.patient_epsilon)
        compute = imputer_phase.compute_standardising_sums
        if is_private:
            compute = private_releases.release_standardising_sums
        sums = torch.from_numpy(combine_sums(map(compute, sites)))
        exact = map(imputer_phase.compute_standardising_sums, sites)
        _, deviation = mean_and_std(torch.from_numpy(combine_sums(exact) if is_private else sums.numpy()))
        imputer = train_relation(sites, config, sums, is_private)
        result = imputation_errors(sites, imputer, deviation.numpy())
        # Without a relation it is that of no privacy.
        has_own_auroc = config.imputer.relation_rounds or config.privacy.noise_multiplier
        if has_own_auroc and not options.without_auroc:
            result["AUROC"] = train_classifier(sites, config, sums)
        if is_private:
            plans = [plan_of_site(site) for site in sites]
            result["noise of gradients"] = float(np.mean([plan.gradients for plan in plans]))
        result["patients"] = float(np.mean([len(Patients(s, s.partition.rows("train"))) for s in sites]))
    if noise := config.privacy.noise_multiplier:
        result["epsilon of sites"] = compute_site_epsilon(noise, config.task.rounds, config.privacy.delta)
    return result


def train_relation(
    sites: list[Site], config: RunConfig, sums: torch.Tensor, is_private: bool
) -> DiffusionImputer:
    """Return an imputer with the relation of all sites."""
    torch.manual_seed(0)
    imputer = DiffusionImputer(sites[0].schema, config.imputer)
    imputer.standardiser.fit(sums)
    owners = ownership(imputer)
    for round_ in range(
        min(1, config.imputer.relation_rounds) if is_private else config.imputer.relation_rounds
    ):
        updates = []
        for site in sites:
            if is_private:
                spectra, counts, windows = private_releases.release_relation(site, imputer)
            else:
                rows, seed = site.partition.rows("train"), derive_seed(config.seed, round_, site.name)
                spectra, counts, windows = estimate_cross_spectrum(site, rows, imputer, seed, round_ == 0)
            updates.append(SiteUpdate(spectra, counts, windows, 1, site.name))
        state = {name: tensor.numpy() for name, tensor in imputer.state_dict().items()}
        averaged = average(state, owners, updates)
        if is_private:
            averaged = {k: floor_at_noise(a) if k.endswith(".spectrum") else a for k, a in averaged.items()}
        imputer.load_state_dict({name: torch.from_numpy(array) for name, array in averaged.items()})
    return imputer.eval()


@torch.no_grad()
def imputation_errors(
    sites: list[Site], imputer: DiffusionImputer, deviation: np.ndarray
) -> dict[str, float]:
    """Return the RMSE of the closed-form estimate by missingness pattern, in units of `deviation`."""
    totals: dict[str, np.ndarray] = {}
    for site in sites:
        rows = site.partition.rows("test")[:TEST_WINDOWS]
        for key, sums in error_sums_by_block(site, rows, imputer, site.config.seed, 0, all_measured=True):
            kind, _, method = key.partition("/")
            if method == "estimate":
                totals[kind] = totals.get(kind, 0) + sums.sum(0)
    weights, errors = sites[0].schema.patch_weights, {}
    scale = np.square(imputer.standardiser.std.numpy() / deviation)
    count, squares = ERROR_SUMS.index("count"), ERROR_SUMS.index("squared")
    for kind, sums in totals.items():
        errors[kind] = math.sqrt(weights @ (sums[:, squares] * scale) / (weights @ sums[:, count]))
    return errors


def train_classifier(sites: list[Site], config: RunConfig, sums: torch.Tensor) -> float:
    """Return the AUROC of the task model on the test windows of all sites."""
    method = METHODS["mask"]
    torch.manual_seed(derive_seed(config.seed, "initial weights", "task"))
    model = method.model(sites[0].schema, config.task)
    model.standardiser.fit(sums)
    owners, privacy = ownership(model), config.privacy
    windows = [task_phase.TaskWindows(site, method, "", "train") for site in sites]
    for round_ in range(1, config.task.rounds + 1):
        rate = cosine_rate(config.task.learning_rate, round_, config.task.rounds)
        start = {name: tensor.clone() for name, tensor in model.state_dict().items()}
        state = {name: tensor.numpy() for name, tensor in start.items()}
        updates = []
        for site, training in zip(sites, windows, strict=True):
            model.load_state_dict(start)
            seed = derive_seed(config.seed, "task", round_, site.name)
            outcome = task_phase.train(training, model, seed, rate, math.inf)
            present = outcome["present"].astype(float)
            counts = outcome["windows"] * (present.T @ present / len(present))
            arrays = {name: p.detach().numpy().copy() for name, p in model.named_parameters()}
            updates.append(SiteUpdate(arrays, counts, outcome["windows"], outcome["steps"], site.name))
        if privacy.noise_multiplier:
            clip, noise = privacy.clip_task, privacy.noise_multiplier
            state = private_average(state, owners, updates, clip, noise, len(sites))
        else:
            state = average(state, owners, updates)
        model.load_state_dict({name: torch.from_numpy(array) for name, array in state.items()})
    model.eval()
    totals: dict[str, np.ndarray] = {}
    for site in sites:
        scored, _, _ = task_phase.score(task_phase.TaskWindows(site, method, "", "test"), model)
        for name, added in scored.items():
            totals[name] = totals.get(name, 0) + added
    return sites[0].schema.task_kind.metrics(totals)["auroc"]


def table(results: dict[str, list[dict[str, float]]]) -> str:
    """Return the table of all seeds so far, in Markdown."""
    columns = list(dict.fromkeys(key for runs in results.values() for run in runs for key in run))
    lines = ["| | " + " | ".join(columns) + " |", "|---" * (len(columns) + 1) + "|"]
    for name, runs in results.items():
        cells = []
        for column in columns:
            values = [run[column] for run in runs if column in run]
            spread = f" ± {np.std(values, ddof=1):.3f}" if len(values) > 1 else ""
            cells.append(f"{np.mean(values):.3f}{spread}" if values else "")
        lines.append(f"| {name} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


if __name__ == "__main__":
    main()
