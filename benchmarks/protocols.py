"""Score CondI on protocols of imputation on which others have published results.

    python benchmarks/protocols.py P1 --source FOLDER [--hidden 0.1 0.5] [--folds 0 1 2 3 4]

P1 is that of CSDI (Tashiro et al., NeurIPS 2021, and their published code) on PhysioNet 2012: set A, 35
variables, 48 hours, the last value of an hour, without plausible ranges, standardised over all stays, which
is the unit of all scores. Of each stay a part of the measured cells is hidden. A fold has 800 stays for the
test, 400 for validation and 2800 for training. CondI trains on those as a federation of four ICU types.

The hidden cells are written to --cells, and the SHA-256 of their mask is printed, so that others can score
the same ones. Prints a table and one JSON line for each share and fold.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import tarfile
import tempfile
from collections.abc import Iterator
from io import TextIOWrapper
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
import torch
from runs import Run, run_federation
from torch import Tensor

from condi_core.imputer.imputer import median_over_draws
from condi_core.imputer.interpolation import last_value, linear_interpolation
from condi_core.windows import WINDOWS_PER_BLOCK, zero_unobserved
from data_partitions.federation import write_federation
from data_partitions.manifest import Manifest, Modality

# In the order of the authors, on which the hidden cells depend.
VARIABLES = (
    "DiasABP HR Na Lactate NIDiasABP PaO2 WBC pH Albumin ALT Glucose SaO2 Temp AST Bilirubin HCO3 BUN "
    "RespRate Mg HCT SysABP FiO2 K GCS Cholesterol NISysABP TroponinT MAP TroponinI PaCO2 Platelets Urine "
    "NIMAP Creatinine ALP"
).split()
HOURS = 48
ICU_TYPES = {1: "coronary-care", 2: "cardiac-surgery", 3: "medical-icu", 4: "surgical-icu"}
PROTOCOL_SEED = 1
TRAINING_SHARE, TEST_SHARE = 0.7, 0.2
LEVELS = np.arange(0.05, 1.0, 0.05)
SETTINGS = "imputer.relation-rounds=9 imputer.rounds=4 imputer.steps=40 imputer.batch=32"
PUBLISHED = {0.1: (0.217, 0.498, 0.238), 0.5: (0.301, 0.614, 0.330), 0.9: (0.481, 0.803, 0.522)}  # of CSDI


class Stays(NamedTuple):
    """`values` (stay, hour, variable), standardised, NaN where not measured, and ICU types `(stay,)`."""

    values: np.ndarray
    icu_types: np.ndarray


def read_stays(source: Path) -> Stays:
    """Read the archive of set A, with stays in the order of their numbers."""
    tables = {}
    with tarfile.open(source / "set-a.tar.gz") as archive:
        for member in archive:
            file = archive.extractfile(member)
            if file is not None and member.name.endswith(".txt"):
                tables[Path(member.name).stem] = pd.read_csv(TextIOWrapper(file))
    column_of = {name: i for i, name in enumerate(VARIABLES)}
    values = np.full((len(tables), HOURS, len(VARIABLES)), np.nan)
    icu_types = np.zeros(len(tables), int)
    for stay, number in enumerate(sorted(tables)):
        table = tables[number]
        hours = table["Time"].str.partition(":")[0].astype(int)
        for hour, name, value in zip(hours, table["Parameter"], table["Value"], strict=True):
            if name in column_of and hour < HOURS:
                values[stay, hour, column_of[name]] = value
            elif name == "ICUType":
                icu_types[stay] = value
    measured = values.reshape(-1, len(VARIABLES))
    return Stays((values - np.nanmean(measured, 0)) / np.nanstd(measured, 0), icu_types)


def choose_hidden_cells(values: np.ndarray, share: float) -> np.ndarray:
    """Return which measured cells are hidden, as the authors' code draws them."""
    random = np.random.RandomState(PROTOCOL_SEED)
    hidden = np.zeros(values.shape, bool)
    for stay, measured in enumerate(~np.isnan(values)):
        cells = np.flatnonzero(measured)
        hidden[stay].reshape(-1)[random.choice(cells, int(len(cells) * share), replace=False)] = True
    return hidden


def split_stays(count: int, fold: int) -> dict[str, np.ndarray]:
    """Return the stays of each split of a fold, as the authors' code draws them."""
    stays = np.arange(count)
    np.random.RandomState(PROTOCOL_SEED).shuffle(stays)
    start, end = int(fold * TEST_SHARE * count), int((fold + 1) * TEST_SHARE * count)
    others = np.delete(stays, np.arange(start, end))
    np.random.RandomState(PROTOCOL_SEED).shuffle(others)
    num_training = int(count * TRAINING_SHARE)
    return {"train": others[:num_training], "val": others[num_training:], "test": stays[start:end]}


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
        folder, sites(), dataset="physionet-2012-csdi", split="natural", seed=0, made_by=__file__
    )


def make_manifest(site: str, windows: dict[str, int]) -> Manifest:
    """Describe hourly cells in standard deviations, without labels."""
    modalities = tuple(
        Modality(name=name, unit="standard deviations", rate=1 / 3600, samples_per_patch=1, present=True)
        for name in VARIABLES
    )
    return Manifest(
        dataset="physionet-2012-csdi", version="1.0.0", site=site, modalities=modalities,
        patch_seconds=3600.0, patches=HOURS, labels=(), task="none", label_rule="", windows=windows,
        license="ODC-By 1.0", made_by="benchmarks/protocols.py",
    )  # fmt: skip


def score(run: Run, values: np.ndarray, hidden: np.ndarray, num_draws: int) -> dict[str, dict[str, float]]:
    """Score the hidden cells of stays (stay, hour, variable), in the units of `values`."""
    imputer, rows = run.imputer, {}
    sums: dict[str, np.ndarray] = {}
    for start in range(0, len(values), WINDOWS_PER_BLOCK):
        block = slice(start, start + WINDOWS_PER_BLOCK)
        truth = torch.from_numpy(np.nan_to_num(values[block])).float().mT[..., None]
        target = torch.from_numpy(hidden[block]).mT[..., None]
        conditioning = torch.from_numpy(~np.isnan(values[block])).mT[..., None] & ~target
        visible = zero_unobserved(truth, conditioning)
        batch = imputer.prepare(visible, conditioning)
        point, draws = imputer.sample(batch, num_draws, torch.Generator().manual_seed(start))
        standardised = imputer.standardiser(visible, conditioning).flatten(2)
        methods = {
            "mean": torch.zeros_like(point),
            "last value": last_value(standardised, conditioning.flatten(2)).view_as(point),
            "linear interpolation": linear_interpolation(standardised, conditioning.flatten(2)).view_as(
                point
            ),
            "closed-form estimate": batch.references.conditional_mean,
            "CondI, point estimate": point,
            f"CondI, {num_draws} draws": median_over_draws(draws),
        }
        for name, estimate in methods.items():
            error = (imputer.standardiser.inverse(estimate) - truth)[target].double()
            distribution = draws if name.endswith("draws") else estimate[None]
            quantile_losses = sum_quantile_losses(imputer.standardiser.inverse(distribution), truth, target)
            sums[name] = sums.get(name, 0) + np.array(
                [
                    target.sum(),
                    error.abs().sum(),
                    error.square().sum(),
                    quantile_losses,
                    truth[target].abs().sum(),
                ]
            )
    for name, (count, absolute, squared, quantile, size) in sums.items():
        rows[name] = {
            "MAE": absolute / count,
            "RMSE": float(np.sqrt(squared / count)),
            "CRPS by sum of |x|": quantile / size,
            "CRPS by cell": quantile / count,
        }
    return rows


def sum_quantile_losses(draws: Tensor, truth: Tensor, target: Tensor) -> float:
    """Sum twice the quantile loss over the hidden cells, averaged over the levels."""
    cells, true_values, total = draws[:, target].double(), truth[target].double(), 0.0
    for level in LEVELS:
        over = true_values - torch.quantile(cells, float(level), dim=0)
        total += 2 * torch.maximum(level * over, (level - 1) * over).sum().item()
    return total / len(LEVELS)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("protocol", choices=["P1"])
    parser.add_argument("--source", type=Path, required=True, help="folder of set-a.tar.gz")
    parser.add_argument("--hidden", type=float, nargs="+", default=[0.1, 0.5], help="share of measured cells")
    parser.add_argument("--folds", type=int, nargs="+", default=[0], choices=range(5))
    parser.add_argument("--draws", type=int, default=100)
    parser.add_argument("--run-config", default=SETTINGS, help="settings of phase 1")
    parser.add_argument("--cells", type=Path, help="where the mask of hidden cells is written, as npz")
    options = parser.parse_args()
    torch.set_num_threads(1)
    stays = read_stays(options.source)
    for share in options.hidden:
        hidden = choose_hidden_cells(stays.values, share)
        digest = hashlib.sha256(np.packbits(hidden).tobytes()).hexdigest()
        print(f"\n{hidden.sum()} cells of {len(hidden)} stays are hidden, SHA-256 {digest}", flush=True)
        if options.cells:
            np.savez_compressed(options.cells.with_suffix(f".{share}.npz"), hidden=hidden)
        for fold in options.folds:
            splits = split_stays(len(hidden), fold)
            with tempfile.TemporaryDirectory() as folder:
                write_sites(Path(folder) / "federation", stays, hidden, splits)
                run = run_federation(Path(folder) / "federation", options.run_config)
            test = splits["test"]
            rows = score(run, stays.values[test], hidden[test], options.draws)
            print(f"\nP1, {share:.0%} hidden, fold {fold}: {sum(run.seconds.values()):.0f} s of training")
            print(pd.DataFrame(rows).T.round(4).to_string())
            mae, rmse, crps = PUBLISHED.get(share, (np.nan,) * 3)
            print(f"CSDI as published, mean of five folds: MAE {mae}, RMSE {rmse}, CRPS by sum of |x| {crps}")
            print(
                json.dumps({"protocol": "P1", "hidden": share, "fold": fold, "sha256": digest, "rows": rows})
            )


if __name__ == "__main__":
    main()
