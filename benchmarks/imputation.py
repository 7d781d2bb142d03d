"""Compare imputation by CondI with naive, closed-form and other imputers on the same hidden cells.

    python benchmarks/imputation.py --source FOLDER [--dataset ptb-xl] [--seeds 3] [--ablations]

For each seed a federation is prepared and its phase 1 is run by `condi run`, without missingness beyond that
of the source. Then the test windows of all sites are pooled, and each method completes them under the same
masks, which are fixed by missingness pattern and record id. SAITS and CSDI are trained on the pooled training
windows, on one thread, for as long as phase 1 took all sites together, or for --minutes (see `peers.py`; they
need '.[bench]').

Errors are in standard deviations of the modality; CRPS is the MAE where a method gives only a point. The
summary CRPS is of the mean, the smallest and the largest hidden sample of each modality in a window.
CSDI is scored on one piece of each of some evenly spaced windows. /linear is the ratio to the RMSE of linear
interpolation on the cells that the method was scored on. With --ablations, CondI is trained again for
some steps on the pooled windows, complete and with parts removed, from the same weights and cross-spectrum.

Prints a table per missingness pattern, mean ± sample standard deviation over seeds, and one JSON line.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from collections.abc import Callable
from functools import partial
from importlib.util import find_spec
from itertools import repeat
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from ablations import score_ablations
from joint_scores import summary_scores
from runs import Pool, Run, pool, run_condi, run_federation, training_windows
from torch import Tensor

from condi_core.evaluation.catalogue import imputation_metrics
from condi_core.evaluation.imputation import imputation_sums
from condi_core.imputer.imputer import DiffusionImputer, median_over_draws
from condi_core.imputer.interpolation import last_value, linear_interpolation, same_instant_regression
from condi_core.missingness import Missingness
from condi_core.training import derive_seed
from condi_core.windows import WINDOWS_PER_BLOCK, zero_unobserved

DRAWS = 20
SAME_INSTANT = "same-instant least squares"
CLOSED_FORM = "closed-form estimate"
METRICS = {
    "mae": "MAE", "rmse": "RMSE", "ratio": "/linear", "crps": "CRPS", "coverage": "90 % coverage",
    "summary": "summary CRPS",
}  # fmt: skip
COSTS = {"training": "s of training", "scoring": "s of scoring", "parameters": "parameters"}
Method = Callable[[Tensor, Tensor], tuple[Tensor, Tensor | None]]
"""Maps values in source units and the conditioning mask to a point and draws, in standardised units."""


class Dataset(NamedTuple):
    """How a data set is prepared, trained on and scored; names of `masks` seed streams: never change them."""

    prepare: str  # arguments of `condi prepare`
    settings: str  # of phase 1
    masks: dict[str, Missingness]
    csdi_windows: int  # test windows that CSDI is scored on
    parts: dict[str, tuple[str, slice]] = {}  # further patterns: some modalities of a mask


ONE_THIRD_OF_MODALITIES = Missingness(modality_by_window=1 / 3)
DATASETS = {
    "ptb-xl": Dataset(
        "--sites 4 --split iid",
        "imputer.rounds=8 imputer.steps=40 imputer.relation-rounds=2",
        {
            **{f"points {share} %": Missingness(points=share / 100) for share in (20, 50, 80)},
            "gaps 50 %": Missingness(gaps=0.5),
            "four leads absent": ONE_THIRD_OF_MODALITIES,
        },
        3,
        {
            "limb leads absent": ("four leads absent", slice(0, 6)),
            "V leads absent": ("four leads absent", slice(6, 12)),
        },
    ),
    "physionet-2012": Dataset(
        "",
        "imputer.rounds=4 imputer.steps=40 imputer.batch=32 imputer.relation-rounds=9",
        {
            "points 10 %": Missingness(points=0.1),
            "points 50 %": Missingness(points=0.5),
            "gaps 50 %": Missingness(gaps=0.5),
        },
        64,
    ),
    "demo": Dataset(
        "",
        "imputer.rounds=4 imputer.steps=20",
        {
            "points 50 %": Missingness(points=0.5),
            "gaps 50 %": Missingness(gaps=0.5),
            "third absent": ONE_THIRD_OF_MODALITIES,
        },
        16,
    ),
}


def impute_by_condi(
    imputer: DiffusionImputer, num_draws: int, values: Tensor, conditioning: Tensor
) -> tuple[Tensor, Tensor | None]:
    """Complete windows by a trained imputer."""
    prepared = imputer.prepare(values, conditioning)
    mean, draws = imputer.sample(prepared, num_draws, torch.Generator().manual_seed(0))
    return mean, draws if num_draws else None


def methods_of(imputer: DiffusionImputer) -> dict[str, Method]:
    """Return the methods that need no training beyond that of the run."""
    cross_spectrum = imputer.closed_form.cross_spectra[0]  # all modalities of these data sets have one rate

    def by_rule(rule: Callable[[Tensor, Tensor], Tensor]) -> Method:
        def method(values: Tensor, conditioning: Tensor) -> tuple[Tensor, None]:
            x = imputer.standardiser(values, conditioning).flatten(2)
            return rule(x, conditioning.flatten(2)).view_as(values), None

        return method

    def same_instant(x: Tensor, conditioning: Tensor) -> Tensor:
        return same_instant_regression(x, conditioning, cross_spectrum.covariance())[0]

    def closed_form(values: Tensor, conditioning: Tensor) -> tuple[Tensor, None]:
        return imputer.prepare(values, conditioning).references.conditional_mean, None

    def median(values: Tensor, conditioning: Tensor) -> tuple[Tensor, Tensor]:
        _, draws = impute_by_condi(imputer, DRAWS, values, conditioning)
        return median_over_draws(draws), draws

    return {
        "mean of the modality": by_rule(lambda x, conditioning: torch.zeros_like(x)),
        "last value carried forward": by_rule(last_value),
        "linear interpolation": by_rule(linear_interpolation),
        SAME_INSTANT: by_rule(same_instant),
        CLOSED_FORM: closed_form,
        "CondI, point estimate": partial(impute_by_condi, imputer, 0),
        f"CondI, median of {DRAWS} draws": median,
    }


def score_condi(imputer: DiffusionImputer, windows: Pool, dataset: Dataset) -> dict[str, dict]:
    """Return the errors of the point estimate, and CRPS and coverage of the draws."""
    scores = score(partial(impute_by_condi, imputer, DRAWS), imputer, windows, dataset)
    return {kind: metrics for kind, metrics in scores.items() if kind != "cost"}


def score(method: Method, imputer: DiffusionImputer, windows: Pool, dataset: Dataset) -> dict[str, dict]:
    """Return `{pattern: metrics}` and `{"cost": {"scoring": seconds}}`; NaN of a method does not count."""
    scores, seconds = {}, 0.0
    for kind, missingness in dataset.masks.items():
        sums, summaries = np.zeros((windows.values.shape[1], 6)), []  # ERROR_SUMS, and squares of linear
        for start in range(0, len(windows.records), WINDOWS_PER_BLOCK):
            block = windows.select(slice(start, start + WINDOWS_PER_BLOCK))
            hidden = block.hidden(repeat((missingness, derive_seed("benchmark", kind))))
            values, observed, target = map(torch.from_numpy, (block.values, block.observed, hidden))
            conditioning, truth = observed & ~target, imputer.standardiser(values, observed)
            start_time = time.process_time()
            point, draws = method(zero_unobserved(values, conditioning), conditioning)
            seconds += time.process_time() - start_time
            target &= ~point.isnan()
            visible = zero_unobserved(truth, conditioning).flatten(2)
            lines = linear_interpolation(visible, conditioning.flatten(2)).view_as(truth)
            squares = imputation_sums(truth, lines, target)[:, 2]
            sums += np.column_stack([imputation_sums(truth, point, target, draws), squares])
            if draws is not None:
                summaries += summary_scores(truth, target, draws).mean(1).tolist()
        parts = {kind: slice(None)} | {p: which for p, (mask, which) in dataset.parts.items() if mask == kind}
        scores |= {part: metrics_of(sums[which].sum(0), draws is not None) for part, which in parts.items()}
        if summaries:
            scores[kind]["summary"] = float(np.mean(summaries))
    return scores | {"cost": {"scoring": seconds}}


def metrics_of(sums: np.ndarray, has_draws: bool) -> dict[str, float]:
    """Return the metrics that follow from error sums."""
    metrics = imputation_metrics(sums[:5])
    metrics["ratio"] = metrics["rmse"] / np.sqrt(sums[5] / sums[0])
    return metrics if has_draws else {key: metrics[key] for key in ("mae", "rmse", "ratio", "crps")}


def compare(
    run: Run, training: Pool, test: Pool, csdi_test: Pool | None, dataset: Dataset, minutes: float
) -> dict[str, dict]:
    """Return the scores of all methods and their cost; SAITS and CSDI only with `csdi_test`."""
    spectrum_size = sum(x.numel() for x in run.imputer.closed_form.state_dict().values())
    imputer_size = spectrum_size + sum(p.numel() for p in run.imputer.parameters())
    spectrum_seconds = run.seconds["relation"]
    imputer_seconds = spectrum_seconds + run.seconds["imputer"]
    scores = {}

    def add(name: str, method: Method, windows: Pool, seconds: float, size: int) -> None:
        scores[name] = score(method, run.imputer, windows, dataset)
        scores[name]["cost"] |= {"training": seconds, "parameters": size}
        ratios = (f"{kind} {row['ratio']:.3f}" for kind, row in scores[name].items() if kind != "cost")
        print(f"seed {run.config.seed}: {name}: RMSE over linear: {', '.join(ratios)}", flush=True)

    for name, method in methods_of(run.imputer).items():
        seconds, size = 0.0, 0
        if name in (SAME_INSTANT, CLOSED_FORM):
            seconds, size = spectrum_seconds, spectrum_size
        elif name.startswith("CondI"):
            seconds, size = imputer_seconds, imputer_size
        add(name, method, test, seconds, size)
    if csdi_test:
        import peers

        for kind, name, windows in (
            (peers.Saits, "SAITS", test),
            (peers.Csdi, f"CSDI, median of {DRAWS} draws", csdi_test),
        ):
            torch.manual_seed(run.config.seed)
            np.random.seed(run.config.seed)
            peer = kind(run.schema, run.imputer.standardiser, DRAWS)
            rng = np.random.default_rng(run.config.seed)
            seconds = peer.train(
                training_windows(training, peer.windows_at_once, rng), 60 * minutes or imputer_seconds
            )
            add(name, peer, windows, seconds, peer.parameters)
    return scores


def print_tables(title: str, runs: list[dict], columns: dict[str, str]) -> dict:
    """Print a table per missingness pattern; return `{row: {pattern: {metric: [a value per seed]}}}`."""
    out: dict = {}
    for row, kinds in runs[0].items():
        for kind, first in kinds.items():
            values = {metric: [round(run[row][kind][metric], 5) for run in runs] for metric in first}
            out.setdefault(row, {})[kind] = values
    for kind in runs[0][next(iter(out))]:
        labels = COSTS if kind == "cost" else columns
        print(f"\n{f'{title}: {kind}':<28}" + "".join(f"{label:>15}" for label in labels.values()))
        for row, kinds in out.items():
            print(
                f"{row:<28}"
                + "".join(f"{mean_and_deviation(kinds[kind].get(metric)):>15}" for metric in labels)
            )
    return out


def mean_and_deviation(values: list[float] | None) -> str:
    """Format a mean and a sample standard deviation."""
    if not values:
        return ""
    digits = 0 if max(values) >= 100 else 3
    deviation = f" ± {np.std(values, ddof=1):.{digits}f}" if len(values) > 1 else ""
    return f"{np.mean(values):.{digits}f}{deviation}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--source", type=Path, help="folder of the data set; the demo needs none")
    parser.add_argument("--dataset", choices=DATASETS, default="ptb-xl")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--run-config", help="settings of phase 1 instead of the data set's")
    parser.add_argument("--minutes", type=float, default=0.0, help="to train SAITS and CSDI; 0: as phase 1")
    parser.add_argument("--without-peers", action="store_true", help="exclude SAITS and CSDI")
    parser.add_argument("--windows", type=int, help="test windows that are scored, spread over all")
    parser.add_argument("--csdi-windows", type=int, help="of these, how many CSDI is scored on")
    parser.add_argument("--ablations", action="store_true")
    parser.add_argument("--ablation-steps", type=int, default=240)
    options = parser.parse_args()
    dataset, compared, ablated = DATASETS[options.dataset], [], []
    if options.dataset != "demo" and not options.source:
        parser.error(f"--source must name the folder of {options.dataset}")
    peers = bool(find_spec("pypots")) and not options.without_peers
    if not peers and not options.without_peers:
        print("SAITS and CSDI are excluded, since PyPOTS is not installed: pip install -e '.[bench]'")
    torch.set_num_threads(1)
    for seed in range(options.seeds):
        with tempfile.TemporaryDirectory() as folder:
            federation = Path(folder) / "federation"
            source = ["--source", options.source, "--seed", seed] if options.source else []
            run_condi("prepare", options.dataset, *source, "--out", federation, *dataset.prepare.split())
            run = run_federation(federation, f"{options.run_config or dataset.settings} seed={seed}")
            training, test = pool(federation, "train"), pool(federation, "test")
        test = test.spread(options.windows) if options.windows else test
        csdi_test = test.spread(options.csdi_windows or dataset.csdi_windows)
        compared.append(compare(run, training, test, csdi_test if peers else None, dataset, options.minutes))
        if options.ablations:
            score_test = partial(score_condi, windows=test, dataset=dataset)
            ablated.append(score_ablations(run, training, options.ablation_steps, score_test))
    out = {"dataset": options.dataset, "test windows": len(test.records)}
    out["methods"] = print_tables(options.dataset, compared, METRICS)
    if ablated:
        out["ablations"] = print_tables("ablations", ablated, METRICS)
    print(json.dumps(out))


if __name__ == "__main__":
    main()
