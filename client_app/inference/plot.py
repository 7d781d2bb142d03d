"""`condi plot`: a window of a site with holes made in it, as the imputer completes it."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import numpy as np
import torch
import typer

from condi_core.run_files import weights_path
from condi_core.weights_file import WeightsFileError, load_imputer
from data_partitions import DataError
from data_partitions.missingness import Missingness, missingness_mask
from data_partitions.partition import Partition

DRAWS = 50


def plot(
    model: Annotated[Path, typer.Option(help="Run folder, or the imputer.safetensors in it.")],
    data: Annotated[Path, typer.Option(help="Partition of a site.")],
    out: Annotated[Path, typer.Option(help="Picture to write (.png, .svg, .pdf).")],
    record: Annotated[str, typer.Option(help="Record id; default: the first test record.")] = "",
    seconds: Annotated[float, typer.Option(min=0.1, help="How much of the window to show.")] = 4.0,
    gaps: Annotated[float, typer.Option(min=0, max=0.9, help="Share of time to hide in gaps.")] = 0.25,
    modalities: Annotated[float, typer.Option(min=0, max=0.9, help="Share of modalities to hide.")] = 0.25,
    seed: Annotated[int, typer.Option(help="Of the holes and the draws.")] = 0,
) -> None:
    """Draw a window with simulated missingness: truth, what the model saw, its median and 90 % band."""
    try:
        _plot(model, data, out, record, seconds, gaps, modalities, seed)
    except (DataError, WeightsFileError, OSError, ValueError) as error:
        typer.echo(f"Error: {error}", err=True)
        raise typer.Exit(1) from None


def _plot(
    model: Path, data: Path, out: Path, record: str, seconds: float, gaps: float, modalities: float, seed: int
) -> None:
    try:
        from matplotlib.figure import Figure
    except ImportError:
        raise WeightsFileError("plots need matplotlib: pip install -e '.[plot]'") from None
    imputer, schema = load_imputer(weights_path(model, "imputer") if model.is_dir() else model)
    partition = Partition.open(data, check=False)
    if partition.manifest.schema() != schema.model_dump(mode="json"):
        raise DataError(
            f"{data} has other modalities or patches than the imputer: use data of its federation"
        )
    found = np.flatnonzero(partition.record_ids == record) if record else partition.rows("test")
    if not len(found):
        raise DataError(f'{data} has no record "{record}"' if record else f"{data} has no test record")
    row = found[:1]
    values, observed = partition.read(row)
    hidden = missingness_mask(
        values[0],
        observed[0],
        Missingness(gaps=gaps, gap_patches=8, modality_by_window=modalities),
        seed=seed,
        record_id=str(partition.record_ids[row[0]]),
        samples_per_patch=[m.samples_per_patch for m in partition.manifest.modalities],
    )[None]
    generator = torch.Generator().manual_seed(seed)
    seen = torch.from_numpy(observed & ~hidden)
    drawn = imputer.impute(torch.from_numpy(values), seen, DRAWS, generator).draws[:, 0].numpy()

    figure = Figure(figsize=(10, 0.9 * len(schema.names) + 0.8), layout="constrained")
    axes = figure.subplots(len(schema.names), 1, sharex=True, squeeze=False)[:, 0]
    for m, (ax, modality) in enumerate(zip(axes, schema.modalities, strict=True)):
        samples = modality.samples_per_patch
        time = np.arange(schema.patches * samples) * schema.patch_seconds / samples
        shown = time < seconds

        def line(a, m=m, samples=samples, shown=shown):
            return a[..., m, :, :samples].reshape(*a.shape[:-3], -1)[..., shown]

        truth = np.where(line(observed[0]), line(values[0]), np.nan)
        saw = line(seen[0].numpy())
        middle, low, high = np.quantile(line(drawn), (0.5, 0.05, 0.95), axis=0, method="weibull")
        blank = np.where(saw, np.nan, 1.0)
        time = time[shown]
        ax.fill_between(time, low * blank, high * blank, color="#e07b39", alpha=0.3, lw=0, label="90 % band")
        ax.plot(time, truth, color="#9aa0a6", lw=1.4, label="truth, hidden from the model")
        ax.plot(time, np.where(saw, truth, np.nan), color="#202124", lw=1.2, label="what the model saw")
        ax.plot(time, middle * blank, color="#c4501b", lw=1.1, label=f"median of {DRAWS} draws")
        ax.set_ylabel(f"{modality.name}\n{modality.unit}", rotation=0, ha="right", va="center", fontsize=9)
        ax.spines[["top", "right"]].set_visible(False)
        ax.tick_params(labelsize=7)
    axes[-1].set_xlabel("s")
    axes[-1].set_xlim(0, time[-1])
    handles, labels = axes[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside upper center", ncols=4, frameon=False, fontsize=9)
    figure.savefig(out, dpi=130)
    typer.echo(f"{partition.record_ids[row[0]]} of {partition.manifest.site}: {out}")
