"""Stays of PhysioNet 2012 as a federation of ICU types, and scores of their hidden cells.

Stays are arrays (stay, hour, variable) in the units of a protocol, NaN where nothing was measured.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
import torch
from published.outcome import Rows
from torch import Tensor

from condi_core.imputer.imputer import DiffusionImputer, median_over_draws
from condi_core.imputer.interpolation import last_value, linear_interpolation
from condi_core.windows import WINDOWS_PER_BLOCK, zero_unobserved
from data_partitions.federation import write_federation
from data_partitions.manifest import Manifest, Modality

# In the order of CSDI's authors, on which the hidden cells depend; TSI-Bench has the same.
VARIABLES = (
    "DiasABP HR Na Lactate NIDiasABP PaO2 WBC pH Albumin ALT Glucose SaO2 Temp AST Bilirubin HCO3 BUN "
    "RespRate Mg HCT SysABP FiO2 K GCS Cholesterol NISysABP TroponinT MAP TroponinI PaCO2 Platelets Urine "
    "NIMAP Creatinine ALP"
).split()
HOURS = 48
ICU_TYPES = {1: "coronary-care", 2: "cardiac-surgery", 3: "medical-icu", 4: "surgical-icu"}
LINEAR = "linear interpolation"
LEVELS = np.arange(0.05, 1.0, 0.05)


class Stays(NamedTuple):
    """`values` (stay, hour, variable), standardised, NaN where not measured, and ICU types `(stay,)`."""

    values: np.ndarray
    icu_types: np.ndarray


def write_sites(folder: Path, stays: Stays, hidden: np.ndarray, splits: dict[str, np.ndarray]) -> None:
    """Write a federation of ICU types; validation and test lack the hidden cells, which no run can see."""
    visible = np.where(hidden, np.nan, stays.values)

    def sites() -> Iterator[tuple[Manifest, pd.DataFrame, list[np.ndarray]]]:
        for icu_type, name in ICU_TYPES.items():
            rows = {split: s[stays.icu_types[s] == icu_type] for split, s in splits.items()}
            numbers = np.concatenate(list(rows.values())).astype(str)
            index = pd.DataFrame(
                {
                    "record_id": numbers,
                    "patient_id": numbers,
                    "split": np.repeat(list(rows), [len(r) for r in rows.values()]),
                }
            )
            arrays = [(stays.values if split == "train" else visible)[r] for split, r in rows.items()]
            windows = np.concatenate(arrays).transpose(0, 2, 1)[..., None].astype(np.float32)
            yield make_manifest(name, {split: len(r) for split, r in rows.items()}), index, list(windows)

    write_federation(
        folder, sites(), dataset="physionet-2012-cells", split="natural", seed=0, made_by=__file__
    )


def make_manifest(site: str, windows: dict[str, int]) -> Manifest:
    """Describe hourly cells in standard deviations, without labels."""
    modalities = tuple(
        Modality(name=name, unit="standard deviations", rate=1 / 3600, samples_per_patch=1, present=True)
        for name in VARIABLES
    )
    return Manifest(
        dataset="physionet-2012-cells", version="1.0.0", site=site, modalities=modalities,
        patch_seconds=3600.0, patches=HOURS, labels=(), task="none", label_rule="", windows=windows,
        license="ODC-By 1.0", made_by="benchmarks/protocols.py",
    )  # fmt: skip


def score(imputer: DiffusionImputer, values: np.ndarray, hidden: np.ndarray, num_draws: int) -> Rows:
    """Score the hidden cells of stays (stay, hour, variable) by CondI and by simple methods."""
    sums = CellSums()
    for start in range(0, len(values), WINDOWS_PER_BLOCK):
        block = slice(start, start + WINDOWS_PER_BLOCK)
        truth = torch.from_numpy(np.nan_to_num(values[block])).float().mT[..., None]
        target = torch.from_numpy(hidden[block]).mT[..., None]
        conditioning = torch.from_numpy(~np.isnan(values[block])).mT[..., None] & ~target
        visible = zero_unobserved(truth, conditioning)
        batch = imputer.prepare(visible, conditioning)
        point, draws = imputer.sample(batch, num_draws, torch.Generator().manual_seed(start))
        x, observed = imputer.standardiser(visible, conditioning).flatten(2), conditioning.flatten(2)
        estimates = {
            "mean": torch.zeros_like(point),
            "last value": last_value(x, observed).view_as(point),
            LINEAR: linear_interpolation(x, observed).view_as(point),
            "closed-form estimate": batch.references.conditional_mean,
            "CondI, point estimate": point,
        }
        distributions = {name: estimate[None] for name, estimate in estimates.items()}
        for name, draws_of in (distributions | {f"CondI, {num_draws} draws": draws}).items():
            sums.add(name, imputer.standardiser.inverse(draws_of), truth, target)
    return sums.rows()


def score_estimates(values: np.ndarray, hidden: np.ndarray, estimates: dict[str, np.ndarray]) -> Rows:
    """Score point estimates (stay, hour, variable) of the hidden cells."""
    sums = CellSums()
    truth, target = torch.from_numpy(np.nan_to_num(values)), torch.from_numpy(hidden)
    for name, estimate in estimates.items():
        sums.add(name, torch.from_numpy(np.asarray(estimate))[None], truth, target)
    return sums.rows()


class CellSums:
    """Sums over hidden cells by method: cells, errors, squared errors, quantile losses and sizes."""

    def __init__(self) -> None:
        self.by_method: dict[str, np.ndarray] = {}

    def add(self, method: str, draws: Tensor, truth: Tensor, target: Tensor) -> None:
        """Add the cells of a block; `draws` are (draw, ...), one for a point, `truth` and `target` (...)."""
        error = (median_over_draws(draws) - truth)[target].double()
        sums = [
            target.sum(),
            error.abs().sum(),
            error.square().sum(),
            sum_quantile_losses(draws, truth, target),
            truth[target].abs().sum(),
        ]
        self.by_method[method] = self.by_method.get(method, 0) + np.array([float(x) for x in sums])

    def rows(self) -> Rows:
        """Return the scores of all methods."""
        return {
            name: {
                "MAE": absolute / count,
                "RMSE": float(np.sqrt(squared / count)),
                "CRPS by sum of |x|": quantile / size,
                "CRPS by cell": quantile / count,
            }
            for name, (count, absolute, squared, quantile, size) in self.by_method.items()
        }


def sum_quantile_losses(draws: Tensor, truth: Tensor, target: Tensor) -> float:
    """Sum twice the quantile loss over the hidden cells, averaged over the levels."""
    cells, true_values, total = draws[:, target].double(), truth[target].double(), 0.0
    for level in LEVELS:
        over = true_values - torch.quantile(cells, float(level), dim=0)
        total += 2 * torch.maximum(level * over, (level - 1) * over).sum().item()
    return total / len(LEVELS)
