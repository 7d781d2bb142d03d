"""A picture of one window with simulated missingness, and of its completion."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch

from condi_core.evaluation.imputation import quantiles
from condi_core.missingness import Missingness, missingness_mask
from condi_core.run_files import weights_path
from condi_core.weights_file import WeightsFileError, load_imputer
from condi_core.windows import Schema
from data_partitions import DataError
from data_partitions.partition import Partition
from data_partitions.storage import atomic_write

NUM_DRAWS = 50
GAP_PATCHES = 8
LEVELS = torch.tensor((0.05, 0.5, 0.95))  # the median and a 90 % interval


def plot_window(
    model: Path,
    data: Path,
    out: Path,
    record: str,
    seconds: float,
    gaps: float,
    modalities: float,
    seed: int,
) -> str:
    """Complete a window with simulated missingness, and write the picture; return its record and site.

    `record` "" is the first test record; `gaps` and `modalities` are the fraction of time to hide in gaps,
    and of modalities to hide.
    """
    try:
        from matplotlib.figure import Figure
    except ImportError:
        raise WeightsFileError("plots need matplotlib: pip install -e '.[plot]'") from None
    imputer, schema = load_imputer(weights_path(model, "imputer") if model.is_dir() else model)
    partition = Partition.open(data, check=False)
    if partition.manifest.schema_fields() != schema.model_dump(mode="json"):
        raise DataError(
            f"{data} has other modalities or patches than the imputer: use data of its federation"
        )
    rows = np.flatnonzero(partition.record_ids == record) if record else partition.rows("test")
    if not len(rows):
        raise DataError(f'{data} has no record "{record}"' if record else f"{data} has no test record")
    row = rows[:1]
    values, observed = partition.read(row)
    hidden = missingness_mask(
        values[0],
        observed[0],
        Missingness(gaps=gaps, gap_patches=GAP_PATCHES, modality_by_window=modalities),
        seed=seed,
        record_id=str(partition.record_ids[row[0]]),
        samples_per_patch=[m.samples_per_patch for m in partition.manifest.modalities],
    )
    conditioning = observed[0] & ~hidden
    generator = torch.Generator().manual_seed(seed)
    imputation = imputer.impute(
        torch.from_numpy(values), torch.from_numpy(conditioning[None]), NUM_DRAWS, generator
    )
    estimates = quantiles(imputation.draws[:, 0], LEVELS).numpy()

    figure = Figure(figsize=(10, 0.9 * len(schema.names) + 0.8), layout="constrained")
    axes = figure.subplots(len(schema.names), 1, sharex=True, squeeze=False)[:, 0]
    truth = np.where(observed[0], values[0], np.nan)
    for m, ax in enumerate(axes):
        _plot_modality(ax, schema, m, seconds, truth, conditioning, estimates)
    axes[-1].set_xlabel("s")
    handles, labels = axes[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside upper center", ncols=4, frameon=False, fontsize=9)
    with atomic_write(out) as file:  # private to this user, as it shows a patient's window
        figure.savefig(file, format=out.suffix[1:] or None, dpi=130)
    return f"{partition.record_ids[row[0]]} of {partition.manifest.site}"


def _plot_modality(
    ax,
    schema: Schema,
    m: int,
    seconds: float,
    truth: np.ndarray,
    conditioning: np.ndarray,
    estimates: np.ndarray,
) -> None:
    """Plot one modality of `truth`, `conditioning` `(modality, patch, sample)`, and quantiles at LEVELS."""
    modality = schema.modalities[m]
    samples = modality.samples_per_patch
    time = np.arange(schema.patches * samples) * schema.patch_seconds / samples
    visible = time < seconds

    def series(a: np.ndarray) -> np.ndarray:
        return a[..., m, :, :samples].reshape(*a.shape[:-3], -1)[..., visible]

    true, seen = series(truth), series(conditioning)
    low, median, high = series(estimates)
    imputed = np.where(seen, np.nan, 1.0)
    time = time[visible]
    ax.fill_between(
        time, low * imputed, high * imputed, color="#e07b39", alpha=0.3, lw=0, label="90 % interval"
    )
    ax.plot(time, true, color="#9aa0a6", lw=1.4, label="truth, hidden from the model")
    ax.plot(time, np.where(seen, true, np.nan), color="#202124", lw=1.2, label="observed by the model")
    ax.plot(time, median * imputed, color="#c4501b", lw=1.1, label=f"median of {NUM_DRAWS} draws")
    ax.set_ylabel(f"{modality.name}\n{modality.unit}", rotation=0, ha="right", va="center", fontsize=9)
    ax.spines[["top", "right"]].set_visible(False)
    ax.tick_params(labelsize=7)
    ax.set_xlim(0, time[-1])
