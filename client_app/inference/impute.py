"""`condi impute`: a site's windows, or its own files, completed by a run's imputer."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from client_app.inference.impute_files import impute_files
from client_app.inference.impute_partition import impute_partition
from client_app.inference.options import (
    DataOption,
    DeviceOption,
    JsonOption,
    KeepUnknownOption,
    ModelOption,
    ResampleOption,
    is_partition,
    open_run,
)
from condi_core.config import ConfigError
from condi_core.weights_file import WeightsFileError
from data_partitions.console import one_sentence_errors, progress_bars
from data_partitions.recordings import WindowGrid


def impute(
    model: ModelOption,
    data: DataOption,
    out: Annotated[Path, typer.Option(help="Folder to write to; nothing in it is replaced.")],
    samples: Annotated[
        int, typer.Option(min=0, help="Draws behind median and quantiles; 0: point estimates alone.")
    ] = 0,
    seed: Annotated[int, typer.Option(min=0, help="Of the draws.")] = 0,
    device: DeviceOption = "auto",
    resample: ResampleOption = False,
    keep_unknown: KeepUnknownOption = False,
    as_json: JsonOption = False,
) -> None:
    """Complete what is missing; what was observed stays as it is.

    A partition becomes a partition, a file a file of its kind. With --samples, OUT/quantiles has the same
    once more for the 5, 25, 50, 75 and 95 % quantiles. Provenance says which samples are imputed, by which
    imputer and when. Called again after an interruption, it goes on; what cannot be used is named at the
    end, and the exit code is then 1.

    Example: condi impute --model runs/demo --data /srv/ecg --out /srv/completed --samples 20
    """
    with one_sentence_errors(WeightsFileError, ConfigError), progress_bars() as progress:
        learned = open_run(model, data, device)
        if learned.imputer is None:
            raise WeightsFileError(f"{model} has no trained imputer: its method needs none")
        if is_partition(data):
            told = impute_partition(learned, data, out, samples, seed, progress)
        else:
            grid = WindowGrid.of(learned.schema.model_dump(), resample=resample, keep_unknown=keep_unknown)
            told = impute_files(learned, data, out, samples, seed, grid, progress)
    if as_json:
        typer.echo(json.dumps(told))
    else:
        for sentence in told["skipped"]:
            typer.echo(f"skipped: {sentence}", err=True)
        before = f", {told['before']} had been done before" if told["before"] else ""
        typer.echo(f"completed {told['done']} {told['what']}{before}, skipped {len(told['skipped'])}: {out}")
    if told["skipped"]:
        raise typer.Exit(1)
