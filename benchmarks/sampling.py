"""How samplers of the residual compare, by number of evaluations: the median, and how draws hang together.

    python benchmarks/sampling.py --model RUN_OR_imputer.safetensors --data FEDERATION [--draws 20]

Test windows of all sites with the holes that every imputer is scored on; each sampler starts at the same
noise. Columns, each over hidden cells:

- median: RMSE of the median of draws, over that of linear interpolation; their CRPS, and the share inside the
  90 % interval; of fewer than 19 draws it ends with the outermost, (n - 1) / (n + 1) would be right then;
- one draw: RMSE of single draws, over that of linear interpolation;
- energy: mean over windows of (E|X - x| - E|X - X'|/2) / √(hidden cells), in standard deviations (Gneiting
  and Raftery 2007); unlike the CRPS it sees whether the cells of a draw belong together;
- bpm: for ECGs, how far the heart rate of a lead completed by one draw is from that of all true leads;
- seconds per window, for the mean and all draws, without the closed-form estimate.

Rows of points instead of draws show what a sampler has to beat, and what even the truth has of the last
column; "normal head" leaves the start as it is: independent normal residuals.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import torch
from samplers import DDIMSampler, DDPMSampler, HeunSampler
from torch import Tensor

from condi_core.evaluation.catalogue import EVALUATED_MISSINGNESS, imputation_metrics
from condi_core.evaluation.imputation import imputation_sums
from condi_core.imputer.diffusion import EulerSampler
from condi_core.imputer.imputer import ConditionedBatch, Imputer, median_over_draws
from condi_core.training import derive_seed
from condi_core.weights_file import WeightsFileError, load_imputer
from condi_core.windows import Schema, iterate_blocks
from data_partitions import DataError
from data_partitions.federation import open_federation
from data_partitions.missingness import Missingness, missingness_mask
from data_partitions.partition import Partition

SAMPLERS = {"flow": EulerSampler, "ddim": DDIMSampler, "heun": HeunSampler, "ancestral": DDPMSampler}
EVALUATIONS = (1, 2, 4, 8, 16, 50)
ECG = ("ptb-xl", "demo")
COLUMNS = ("median", "crps", "coverage", "one draw", "energy", "bpm", "seconds")


class NormalHead:
    """No diffusion: the start is the residual."""

    def sample(self, start: Tensor, predict: Callable) -> Tensor:
        return start


def test_windows(data: Path, schema: Schema, count: int) -> list[tuple[Partition, np.ndarray]]:
    """Every site and its rows: all test windows, or `count` of them spread over all."""
    federation = open_federation(data)
    sites = [federation.open_site(name, check=False) for name in federation.sites]
    for site in sites:
        if site.manifest.schema() != schema.model_dump(mode="json"):
            raise DataError(
                f"{site.path} has other modalities or patches than the imputer: use its federation"
            )
    every = [(site, row) for site in sites for row in site.rows("test")]
    if not every:
        raise DataError(f"{data} has no test windows")
    chosen = np.linspace(0, len(every) - 1, min(count or len(every), len(every))).astype(int)
    rows = [[every[i][1] for i in chosen if every[i][0] is site] for site in sites]
    return [(site, np.array(own)) for site, own in zip(sites, rows, strict=True) if own]


def batches(
    windows: list[tuple[Partition, np.ndarray]], imputer: Imputer, kind: str
) -> Iterator[ConditionedBatch]:
    """Windows with holes of one kind, fixed by the record, and their references."""
    for site, rows in windows:
        rates = [m.samples_per_patch for m in site.manifest.modalities]
        for block in iterate_blocks(rows):
            values, observed = site.read(block)
            hidden = np.stack([
                missingness_mask(v, o, Missingness(**EVALUATED_MISSINGNESS[kind].parameters), seed=derive_seed("scored", kind), record_id=record,
                     samples_per_patch=rates)
                for v, o, record in zip(values, observed, site.record_ids[block], strict=True)
            ])  # fmt: skip
            values, observed, hidden = map(torch.from_numpy, (values, observed, hidden))
            yield imputer.prepare(values, observed & ~hidden, hidden)


def heart_rate(ecg: np.ndarray, rate: float) -> np.ndarray:
    """Beats per minute, 40 to 180, of `ecg` (..., lead, sample) at `rate` Hz.

    Of the period after which the steepness of all leads together is most like itself.
    """
    steep = np.abs(np.diff(ecg)).sum(-2)
    steep = np.apply_along_axis(np.convolve, -1, steep, np.ones(max(1, round(0.08 * rate))), "same")
    steep -= steep.mean(-1, keepdims=True)
    spectrum = np.fft.rfft(steep, 2 * steep.shape[-1])
    alike = np.fft.irfft(spectrum * spectrum.conj())
    shortest, longest = int(rate * 60 / 180), int(rate * 60 / 40)
    return 60 * rate / (shortest + alike[..., shortest : longest + 1].argmax(-1))


def off_beat(batch: ConditionedBatch, drawn: Tensor, schema: Schema) -> list[float]:
    """Per window: how far the heart rate of a completed lead is from that of all true leads together.

    A mean over draws and over the leads with holes in them whose truth is known everywhere.
    """
    found, rate = [], schema.samples / schema.patch_seconds
    for x, seen, target, draws in zip(*batch[:3], drawn.transpose(0, 1), strict=True):
        known = (seen | target).flatten(1).all(1)
        holed = known & target.flatten(1).any(1)
        if holed.any():
            completed = torch.where(target, draws, x)[:, holed].flatten(2)
            alone = heart_rate(completed.numpy()[:, :, None], rate)
            found.append(float(np.abs(alone - heart_rate(x[known].flatten(1).numpy(), rate)).mean()))
    return found


def energy_scores(batch: ConditionedBatch, drawn: Tensor) -> list[float]:
    """Per window; a single draw is a point, which is scored by its distance."""
    found = []
    for x, target, draws in zip(batch.x, batch.target, drawn.transpose(0, 1), strict=True):
        if not target.any():
            continue
        cells, n = draws[:, target], len(draws)
        distance = torch.cdist(cells, x[target][None]).mean()
        apart = torch.cdist(cells, cells).sum() / max(n * (n - 1), 1)
        found.append(float((distance - apart / 2) / target.sum().sqrt()))
    return found


def evaluate(
    prepared: list[ConditionedBatch], schema: Schema, draw: Callable[[ConditionedBatch], Tensor]
) -> dict[str, float]:
    """`draw` gives (draw, batch, modality, patch, sample); RMSEs are not yet ratios."""
    sums, squares, seconds = 0, 0.0, 0.0
    energy: list[float] = []
    beats: list[float] = []
    torch.manual_seed(0)
    for batch in prepared:
        start = time.perf_counter()
        drawn = draw(batch)
        seconds += time.perf_counter() - start
        sums = sums + imputation_sums(batch.x, median_over_draws(drawn), batch.target, drawn).sum(0)
        squares += float((batch.target * (drawn - batch.x).square()).mean(0).sum(dtype=torch.float64))
        energy += energy_scores(batch, drawn)
        if schema.dataset in ECG and len(schema.rate_groups) == 1:
            beats += off_beat(batch, drawn, schema)
    median = imputation_metrics(sums)
    return {
        "median": median["rmse"],
        "crps": median["crps"],
        "coverage": median["coverage"],
        "one draw": (squares / max(sums[0], 1)) ** 0.5,
        "energy": float(np.mean(energy)),
        "bpm": float(np.mean(beats)) if beats else float("nan"),
        "seconds": seconds / sum(len(batch.x) for batch in prepared),
    }


def candidates(imputer: Imputer, draws: int) -> Iterator[tuple[str, Callable[[ConditionedBatch], Tensor]]]:
    yield "linear", lambda batch: batch.references.interpolation[None]
    yield "truth", lambda batch: batch.x[None]
    yield "mean of the model", lambda batch: imputer.sample(batch, 0)[0][None]

    def sampled(sampler: object) -> Callable[[ConditionedBatch], Tensor]:
        def draw(batch: ConditionedBatch) -> Tensor:
            imputer.sampler = sampler
            return imputer.sample(batch, draws)[1]

        return draw

    yield "normal head  0", sampled(NormalHead())
    for name, sampler in SAMPLERS.items():
        for steps in EVALUATIONS:
            yield f"{name:<11} {steps:>2}", sampled(sampler(steps))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", type=Path, required=True, help="run folder, or its imputer.safetensors")
    parser.add_argument("--data", type=Path, required=True, help="federation made by `condi prepare`")
    parser.add_argument("--draws", type=int, default=20)
    parser.add_argument("--windows", type=int, default=0, help="of all sites' test windows; 0: all")
    options = parser.parse_args()
    torch.set_num_threads(1)
    model = options.model / "imputer.safetensors" if options.model.is_dir() else options.model
    try:
        imputer, schema = load_imputer(model)
        windows = test_windows(options.data, schema, options.windows)
    except (WeightsFileError, DataError) as error:
        sys.exit(f"Error: {error}")
    found = {}
    print(f"{'missingness':<14} {'evaluations':<18}" + "".join(f"{c:>10}" for c in COLUMNS))
    for kind in EVALUATED_MISSINGNESS:
        prepared = list(batches(windows, imputer, kind))
        linear = None
        for name, draw in candidates(imputer, options.draws):
            row = evaluate(prepared, schema, draw)
            linear = linear or row["median"]
            row |= {"median": row["median"] / linear, "one draw": row["one draw"] / linear}
            numbers = {c: round(row[c], 5) for c in COLUMNS if not np.isnan(row[c])}
            found[f"{kind}/{' '.join(name.split())}"] = numbers
            print(f"{kind:<14} {name:<18}" + "".join(f"{row[c]:>10.3f}" for c in COLUMNS), flush=True)
    print(json.dumps(found))


if __name__ == "__main__":
    main()
