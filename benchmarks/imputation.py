"""Imputation by CondI beside naive, closed-form and outside imputers on the same hidden cells.

    python benchmarks/imputation.py --source FOLDER [--dataset ptb-xl] [--seeds 3] [--ablations]

For each seed a federation is prepared and its phase 1 run by `condi run`, without holes beyond those of the
source; then all sites' test windows are pooled and each method completes them under the same masks, which
are fixed by kind and record id. SAITS and CSDI learn from the pooled training windows, on one thread, for as
long as the sites together took for phase 1, or for --minutes (see `peers.py`; they need '.[bench]').

Errors are in standard deviations of the modality; CRPS is the MAE where a method gives a point alone.
CSDI is scored on one piece of some windows, spread over all. /linear is over the RMSE of linear
interpolation on the cells that the method was scored on. With --ablations, CondI is trained anew for
some steps on the pooled windows, whole and with a part taken out, always from the same weights and relation.

Prints a table per kind of holes, mean ± sample standard deviation over seeds, and one JSON line.
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
from runs import Pool, Run, pool, run_condi, run_federation, training_windows
from torch import Tensor

from condi_core.evaluation.catalogue import imputation_metrics
from condi_core.evaluation.imputation import imputation_sums
from condi_core.imputer.imputer import Imputer, median_over_draws
from condi_core.imputer.interpolation import last_value, linear_interpolation, same_instant_regression
from condi_core.training import derive_seed
from condi_core.windows import WINDOWS_PER_BLOCK, zero_unobserved
from data_partitions.missingness import Missingness

DRAWS = 20
METRICS = {"mae": "MAE", "rmse": "RMSE", "ratio": "/linear", "crps": "CRPS", "coverage": "in 90 % band"}
COSTS = {"training": "s of training", "scoring": "s of scoring", "parameters": "parameters"}
Method = Callable[[Tensor, Tensor], tuple[Tensor, Tensor | None]]
"""From values in source units and what is seen of them to a point and draws, in standardised units."""


class Dataset(NamedTuple):
    prepare: str  # arguments of `condi prepare`
    settings: str  # of phase 1
    masks: dict[str, Missingness]
    csdi_windows: int
    parts: dict[str, tuple[str, slice]] = {}  # further kinds: the modalities of a mask that are scored


THIRD = Missingness(modality_by_window=1 / 3)
DATASETS = {
    "ptb-xl": Dataset(
        "--sites 4 --split iid",
        "imputer.rounds=8 imputer.steps=40 imputer.relation-rounds=2",
        {
            **{f"points {share} %": Missingness(points=share / 100) for share in (20, 50, 80)},
            "gaps 50 %": Missingness(gaps=0.5),
            "four leads absent": THIRD,
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
        {"points 50 %": Missingness(points=0.5), "gaps 50 %": Missingness(gaps=0.5), "third absent": THIRD},
        16,
    ),
}


def condi(imputer: Imputer, draws: int, values: Tensor, seen: Tensor) -> tuple[Tensor, Tensor | None]:
    mean, drawn = imputer.sample(imputer.prepare(values, seen), draws, torch.Generator().manual_seed(0))
    return mean, drawn if draws else None


def methods_of(imputer: Imputer) -> dict[str, Method]:
    """The methods that need no training beyond that of the run."""
    cross_spectrum = imputer.closed_form.cross_spectra[0]  # all modalities of these data sets have one rate

    def in_time(fill: Callable[[Tensor, Tensor], Tensor]) -> Method:
        def method(values: Tensor, seen: Tensor) -> tuple[Tensor, None]:
            return fill(imputer.standardiser(values, seen).flatten(2), seen.flatten(2)).view_as(values), None

        return method

    def instant(x: Tensor, seen: Tensor) -> Tensor:
        return same_instant_regression(x, seen, cross_spectrum.covariance())[0]

    def median(values: Tensor, seen: Tensor) -> tuple[Tensor, Tensor]:
        drawn = condi(imputer, DRAWS, values, seen)[1]
        return median_over_draws(drawn), drawn

    return {
        "mean of the modality": in_time(lambda x, seen: torch.zeros_like(x)),
        "last value carried forward": in_time(last_value),
        "linear interpolation": in_time(linear_interpolation),
        "same-instant least squares": in_time(instant),
        "closed-form estimate": lambda v, seen: (imputer.prepare(v, seen).references.conditional_mean, None),
        "CondI, point estimate": partial(condi, imputer, 0),
        f"CondI, median of {DRAWS} draws": median,
    }


def score_condi(imputer: Imputer, windows: Pool, dataset: Dataset) -> dict[str, dict]:
    """Errors of the point estimate, CRPS and coverage of the draws."""
    found = score(partial(condi, imputer, DRAWS), imputer, windows, dataset)
    return {kind: metrics for kind, metrics in found.items() if kind != "cost"}


def score(method: Method, imputer: Imputer, windows: Pool, dataset: Dataset) -> dict[str, dict]:
    """`{kind: metrics}`, and `{"cost": {"scoring": seconds}}`. What a method leaves NaN is not scored."""
    found, seconds = {}, 0.0
    for kind, missingness in dataset.masks.items():
        # Those of IMPUTATION, then squared errors of one draw and of linear interpolation.
        sums = np.zeros((windows.values.shape[1], 7))
        for start in range(0, len(windows.records), WINDOWS_PER_BLOCK):
            some = windows.of(slice(start, start + WINDOWS_PER_BLOCK))
            hidden = some.hidden(repeat((missingness, derive_seed("benchmark", kind))))
            values, observed, hidden = map(torch.from_numpy, (some.values, some.observed, hidden))
            seen, truth = observed & ~hidden, imputer.standardiser(values, observed)
            began = time.process_time()
            point, drawn = method(zero_unobserved(values, seen), seen)
            seconds += time.process_time() - began
            hidden &= ~point.isnan()
            lines = linear_interpolation(zero_unobserved(truth, seen).flatten(2), seen.flatten(2)).view_as(
                truth
            )
            one = point if drawn is None else drawn[0]
            squares = [imputation_sums(truth, other, hidden)[:, 2] for other in (one, lines)]
            sums += np.column_stack([imputation_sums(truth, point, hidden, drawn), *squares])
        parts = {kind: slice(None)} | {p: which for p, (mask, which) in dataset.parts.items() if mask == kind}
        found |= {part: metrics(sums[which].sum(0), drawn is not None) for part, which in parts.items()}
    return found | {"cost": {"scoring": seconds}}


def metrics(sums: np.ndarray, drawn: bool) -> dict[str, float]:
    found = imputation_metrics(sums[:5])
    one, lines = np.sqrt(sums[5:] / sums[0])
    found |= {"ratio": found["rmse"] / lines, "one draw": one}
    return found if drawn else {key: found[key] for key in ("mae", "rmse", "ratio", "crps")}


def compare(
    run: Run, training: Pool, test: Pool, few: Pool | None, dataset: Dataset, minutes: float
) -> dict[str, dict]:
    """Scores of all methods, with seconds of training and numbers of parameters; CSDI's on `few` windows.

    Without `few` no outside peers are trained.
    """
    relation = sum(x.numel() for x in run.imputer.closed_form.state_dict().values())
    weights = relation + sum(p.numel() for p in run.imputer.parameters())
    related, trained = run.seconds["relation"], sum(run.seconds[phase] for phase in ("relation", "imputer"))
    found = {}

    def add(name: str, method: Method, windows: Pool, spent: float, size: int) -> None:
        found[name] = score(method, run.imputer, windows, dataset)
        found[name]["cost"] |= {"training": spent, "parameters": size}
        ratios = (f"{kind} {told['ratio']:.3f}" for kind, told in found[name].items() if kind != "cost")
        print(f"seed {run.config.seed}: {name}: RMSE over linear: {', '.join(ratios)}", flush=True)

    for place, (name, method) in enumerate(methods_of(run.imputer).items()):
        spent, size = ((0.0, 0), (related, relation), (trained, weights))[(place > 2) + (place > 4)]
        add(name, method, test, spent, size)
    if few:
        import peers

        for kind, name, windows in (
            (peers.Saits, "SAITS", test),
            (peers.Csdi, f"CSDI, median of {DRAWS} draws", few),
        ):
            torch.manual_seed(run.config.seed)
            np.random.seed(run.config.seed)
            peer = kind(run.schema, run.imputer.standardiser, DRAWS)
            rng = np.random.default_rng(run.config.seed)
            spent = peer.train(training_windows(training, peer.windows_at_once, rng), 60 * minutes or trained)
            add(name, peer, windows, spent, peer.parameters)
    return found


def show(title: str, runs: list[dict], columns: dict[str, str]) -> dict:
    """Print a table per kind of holes; returns `{row: {kind: {metric: [a value per seed]}}}`."""
    out: dict = {}
    for row, kinds in runs[0].items():
        for kind, first in kinds.items():
            values = {metric: [round(run[row][kind][metric], 5) for run in runs] for metric in first}
            out.setdefault(row, {})[kind] = values
    for kind in runs[0][next(iter(out))]:
        shown = COSTS if kind == "cost" else columns
        print(f"\n{f'{title}: {kind}':<28}" + "".join(f"{label:>15}" for label in shown.values()))
        for row, kinds in out.items():
            print(f"{row:<28}" + "".join(f"{spread(kinds[kind].get(metric)):>15}" for metric in shown))
    return out


def spread(values: list[float] | None) -> str:
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
    parser.add_argument("--run-config", help="settings of phase 1 in place of the data set's own")
    parser.add_argument("--minutes", type=float, default=0.0, help="to train SAITS and CSDI; 0: as phase 1")
    parser.add_argument("--without-peers", action="store_true", help="leave SAITS and CSDI out")
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
        print("SAITS and CSDI are left out, as PyPOTS is not installed: pip install -e '.[bench]'")
    torch.set_num_threads(1)
    for seed in range(options.seeds):
        with tempfile.TemporaryDirectory() as folder:
            federation = Path(folder) / "federation"
            source = ["--source", options.source, "--seed", seed] if options.source else []
            run_condi("prepare", options.dataset, *source, "--out", federation, *dataset.prepare.split())
            settings = f"{options.run_config or dataset.settings} seed={seed}"
            run = run_federation(federation, settings)
            training, test = pool(federation, "train"), pool(federation, "test")
        test = test.spread(options.windows) if options.windows else test
        few = test.spread(options.csdi_windows or dataset.csdi_windows)
        compared.append(compare(run, training, test, few if peers else None, dataset, options.minutes))
        if options.ablations:
            scored = partial(score_condi, windows=test, dataset=dataset)
            ablated.append(score_ablations(run, training, options.ablation_steps, scored))
    out = {"dataset": options.dataset, "test windows": len(test.records)}
    out["methods"] = show(options.dataset, compared, METRICS)
    if ablated:
        out["ablations"] = show("ablations", ablated, METRICS | {"one draw": "one draw"})
    print(json.dumps(out))


if __name__ == "__main__":
    main()
