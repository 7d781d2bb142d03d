"""Compare samplers of the residual by number of evaluations: quality of the median and coherence of draws.

    python benchmarks/sampling.py --model RUN_OR_imputer.safetensors --data FEDERATION [--draws 20]

The windows are the test windows of all sites, with the missingness that every imputer is scored on. Each
sampler starts from the same noise. The columns, each over hidden cells, are:

- median: RMSE of the median of draws, as a ratio to that of linear interpolation; then the CRPS of the draws,
  and the fraction inside the 90 % interval. With fewer than 19 draws the interval ends at the outermost ones,
  and (n - 1) / (n + 1) would be right;
- one draw: RMSE of single draws, as a ratio to that of linear interpolation;
- energy: mean over windows of (E|X - x| - E|X - X'|/2) / √(hidden cells), in standard deviations (Gneiting
  and Raftery 2007). Unlike the CRPS it depends on whether the cells of a draw belong together;
- summary: CRPS of the mean, the smallest and the largest hidden sample of each modality in a window;
- bpm: for ECGs, the error of the heart rate of a lead completed by one draw, against that of all true leads;
- seconds per window, for the mean and all draws, without the closed-form estimate.

Rows of points instead of draws show what a sampler has to beat, and the error of the truth itself in the
column of heart rates. "normal head" returns the start unchanged: independent normal residuals.
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
from joint_scores import energy_scores, summary_scores
from samplers import DDIMSampler, DDPMSampler, HeunSampler
from torch import Tensor

from condi_core.evaluation.catalogue import EVALUATED_MISSINGNESS, imputation_metrics
from condi_core.evaluation.imputation import imputation_sums
from condi_core.imputer.conditioned_batch import ConditionedBatch
from condi_core.imputer.diffusion import EulerSampler, PredictVelocity
from condi_core.imputer.imputer import DiffusionImputer, median_over_draws
from condi_core.missingness import Missingness, missingness_mask
from condi_core.training import derive_seed
from condi_core.weights_file import WeightsFileError, load_imputer
from condi_core.windows import Schema, iterate_blocks
from data_partitions import DataError
from data_partitions.federation import open_federation
from data_partitions.partition import Partition

SAMPLERS = {"flow": EulerSampler, "ddim": DDIMSampler, "heun": HeunSampler, "ancestral": DDPMSampler}
EVALUATIONS = (1, 2, 4, 8, 16, 50)
ECG = ("ptb-xl", "demo")
COLUMNS = ("median", "crps", "coverage", "one draw", "energy", "summary", "bpm", "seconds")


class NormalHead:
    """A sampler without diffusion: the start is the residual."""

    def sample(self, start: Tensor, predict: PredictVelocity) -> Tensor:
        return start


def test_windows(data: Path, schema: Schema, count: int) -> list[tuple[Partition, np.ndarray]]:
    """Return every site and its rows: all test windows, or `count` of them spread over all."""
    federation = open_federation(data)
    sites = [federation.open_site(name, check=False) for name in federation.sites]
    for site in sites:
        if site.manifest.schema_fields() != schema.model_dump(mode="json"):
            raise DataError(
                f"{site.path} has other modalities or patches than the imputer: use its federation"
            )
    all_windows = [(site, row) for site in sites for row in site.rows("test")]
    if not all_windows:
        raise DataError(f"{data} has no test windows")
    count = min(count or len(all_windows), len(all_windows))
    chosen = np.linspace(0, len(all_windows) - 1, count).astype(int)
    selected = [all_windows[i] for i in chosen]
    rows = [[row for owner, row in selected if owner is site] for site in sites]
    return [(site, np.array(of_site)) for site, of_site in zip(sites, rows, strict=True) if of_site]


def batches(
    windows: list[tuple[Partition, np.ndarray]], imputer: DiffusionImputer, kind: str
) -> Iterator[ConditionedBatch]:
    """Yield windows with one missingness pattern, fixed by the record, with their closed-form estimates."""
    missingness = Missingness(**EVALUATED_MISSINGNESS[kind].parameters)
    for site, rows in windows:
        rates = [m.samples_per_patch for m in site.manifest.modalities]
        for block in iterate_blocks(rows):
            values, observed = site.read(block)
            masks = [
                missingness_mask(
                    window_values,
                    window_observed,
                    missingness,
                    seed=derive_seed("scored", kind),
                    record_id=record,
                    samples_per_patch=rates,
                )
                for window_values, window_observed, record in zip(
                    values, observed, site.record_ids[block], strict=True
                )
            ]
            values, observed, target = map(torch.from_numpy, (values, observed, np.stack(masks)))
            yield imputer.prepare(values, observed & ~target, target)


def heart_rate(ecg: np.ndarray, rate: float) -> np.ndarray:
    """Estimate the beats per minute, 40 to 180, of `ecg` (..., lead, sample) at `rate` Hz.

    The period is where the autocorrelation of the steepness of all leads together is largest.
    """
    steep = np.abs(np.diff(ecg)).sum(-2)
    steep = np.apply_along_axis(np.convolve, -1, steep, np.ones(max(1, round(0.08 * rate))), "same")
    steep -= steep.mean(-1, keepdims=True)
    spectrum = np.fft.rfft(steep, 2 * steep.shape[-1])
    autocorrelation = np.fft.irfft(spectrum * spectrum.conj())
    shortest, longest = int(rate * 60 / 180), int(rate * 60 / 40)
    return 60 * rate / (shortest + autocorrelation[..., shortest : longest + 1].argmax(-1))


def heart_rate_errors(batch: ConditionedBatch, draws: Tensor, schema: Schema) -> list[float]:
    """Return for each window the error of the heart rate of a completed lead, against all true leads.

    It is a mean over draws and over the leads with missing samples whose truth is complete.
    """
    errors, rate = [], schema.samples / schema.patch_seconds
    observed = batch.conditioning | batch.target
    windows = zip(batch.x, observed, batch.target, draws.transpose(0, 1), strict=True)
    for x, measured, target, completions in windows:
        complete = measured.flatten(1).all(1)
        scored = complete & target.flatten(1).any(1)
        if scored.any():
            completed = torch.where(target, completions, x)[:, scored].flatten(2)
            by_lead = heart_rate(completed.numpy()[:, :, None], rate)
            errors.append(float(np.abs(by_lead - heart_rate(x[complete].flatten(1).numpy(), rate)).mean()))
    return errors


def evaluate(
    prepared: list[ConditionedBatch], schema: Schema, sample: Callable[[ConditionedBatch], Tensor]
) -> dict[str, float]:
    """Score the draws (draw, batch, modality, patch, sample) of `sample`; RMSEs are not yet ratios."""
    sums, squares, seconds = 0, 0.0, 0.0
    energy: list[float] = []
    summaries: list[float] = []
    bpm_errors: list[float] = []
    torch.manual_seed(0)
    for batch in prepared:
        start = time.perf_counter()
        draws = sample(batch)
        seconds += time.perf_counter() - start
        sums = sums + imputation_sums(batch.x, median_over_draws(draws), batch.target, draws).sum(0)
        squares += float((batch.target * (draws - batch.x).square()).mean(0).sum(dtype=torch.float64))
        energy += energy_scores(batch.x, batch.target, draws)
        if len(draws) > 1:
            summaries += summary_scores(batch.x, batch.target, draws).flatten().tolist()
        if schema.dataset in ECG and len(schema.rate_groups) == 1:
            bpm_errors += heart_rate_errors(batch, draws, schema)
    median = imputation_metrics(sums)
    return {
        "median": median["rmse"],
        "crps": median["crps"],
        "coverage": median["coverage"],
        "one draw": (squares / max(sums[0], 1)) ** 0.5,
        "energy": float(np.mean(energy)),
        "summary": float(np.mean(summaries)) if summaries else float("nan"),
        "bpm": float(np.mean(bpm_errors)) if bpm_errors else float("nan"),
        "seconds": seconds / sum(len(batch.x) for batch in prepared),
    }


def candidates(
    imputer: DiffusionImputer, num_draws: int
) -> Iterator[tuple[str, Callable[[ConditionedBatch], Tensor]]]:
    """Yield the name of each row and its function from a batch to draws."""
    yield "linear", lambda batch: batch.references.interpolation[None]
    yield "truth", lambda batch: batch.x[None]
    yield "mean of the model", lambda batch: imputer.sample(batch, 0)[0][None]

    def sample_by(sampler: object) -> Callable[[ConditionedBatch], Tensor]:
        def sample(batch: ConditionedBatch) -> Tensor:
            imputer.sampler = sampler
            return imputer.sample(batch, num_draws)[1]

        return sample

    yield "normal head  0", sample_by(NormalHead())
    for name, sampler in SAMPLERS.items():
        for steps in EVALUATIONS:
            yield f"{name:<11} {steps:>2}", sample_by(sampler(steps))


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
    results = {}
    print(f"{'missingness':<14} {'evaluations':<18}" + "".join(f"{c:>10}" for c in COLUMNS))
    for kind in EVALUATED_MISSINGNESS:
        prepared = list(batches(windows, imputer, kind))
        linear = None
        for name, sample in candidates(imputer, options.draws):
            row = evaluate(prepared, schema, sample)
            linear = linear or row["median"]
            row |= {"median": row["median"] / linear, "one draw": row["one draw"] / linear}
            numbers = {c: round(row[c], 5) for c in COLUMNS if not np.isnan(row[c])}
            results[f"{kind}/{' '.join(name.split())}"] = numbers
            print(f"{kind:<14} {name:<18}" + "".join(f"{row[c]:>10.3f}" for c in COLUMNS), flush=True)
    print(json.dumps(results))


if __name__ == "__main__":
    main()
