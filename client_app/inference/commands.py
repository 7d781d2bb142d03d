"""`condi impute`, `predict`, `evaluate` and `plot`: options and help.

Modules that compute are imported inside the functions: torch takes seconds to import, which help must not.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Literal

import typer

from client_app.inference.options import (
    AllowAbsentOption,
    DataOption,
    DescriptionOption,
    DeviceOption,
    EvaluatedDataOption,
    JsonOption,
    KeepUnknownOption,
    LocalOption,
    ModelOption,
    PartitionOption,
    ResampleOption,
)


def impute(
    model: ModelOption,
    data: DataOption,
    out: Annotated[Path, typer.Option(help="Folder to write to; existing files are never replaced.")],
    samples: Annotated[
        int, typer.Option(min=0, help="Draws for the quantiles; 0 for point estimates alone.")
    ] = 0,
    seed: Annotated[int, typer.Option(min=0, help="Seed of the draws.")] = 0,
    device: DeviceOption = "auto",
    description: DescriptionOption = None,
    local: LocalOption = None,
    resample: ResampleOption = False,
    keep_unknown: KeepUnknownOption = False,
    allow_absent: AllowAbsentOption = False,
    as_json: JsonOption = False,
) -> None:
    """Complete the missing samples of a site's data; observed samples stay as they are.

    A partition becomes a partition, and each file a file of the same format. Windows overlap by half and are
    blended. With --samples, OUT/quantiles holds the same output for the 5, 25, 50, 75 and 95 % quantiles.
    Provenance files record which samples are imputed, by which imputer and when. After an interruption, the
    same call resumes. Files that cannot be used are listed at the end, and the exit code is then 1.

    Example: condi impute --model runs/demo --data /srv/ecg --out /srv/completed --samples 20
    """
    from client_app.inference.impute_files import impute_files
    from client_app.inference.impute_partition import impute_partition
    from client_app.inference.opening import errors_and_progress, open_run
    from client_app.inference.recording_reader import ReadingOptions, RecordingReader
    from client_app.inference.site_data import open_site_data
    from client_app.inference.site_description import SiteSettings
    from condi_core.weights_file import WeightsFileError

    settings = SiteSettings(description, local)
    options = ReadingOptions(resample, keep_unknown, allow_absent)
    with errors_and_progress() as progress:
        run = open_run(model, data, device)
        if run.imputer is None:
            raise WeightsFileError(f"{model} has no trained imputer, as its method does not need one")
        with open_site_data(model, run, data, settings, options, progress, completes=True) as source:
            if isinstance(source, RecordingReader):
                summary = impute_files(run, data, out, samples, seed, source, progress)
            else:
                summary = impute_partition(run, source.path, out, samples, seed, progress)
                summary.skipped, summary.notes = source.skipped, [*source.notes, *summary.notes]
    if as_json:
        typer.echo(json.dumps(summary.as_dict()))
    else:
        _list_findings(summary.notes, summary.skipped)
        typer.echo(f"{summary.sentence()}: {out}")
    if summary.skipped:
        raise typer.Exit(1)


def predict(
    model: ModelOption,
    data: DataOption,
    out: Annotated[Path, typer.Option(help="CSV file to write; it must not exist.")],
    samples: Annotated[
        int, typer.Option(min=0, help="Completions for the spread of each probability; 0 for no spread.")
    ] = 20,
    method: Annotated[
        str, typer.Option(help="One of the run's methods. Default: the run's setting `method`.")
    ] = "",
    seed: Annotated[int, typer.Option(min=0, help="Seed of the completions.")] = 0,
    device: DeviceOption = "auto",
    description: DescriptionOption = None,
    local: LocalOption = None,
    resample: ResampleOption = False,
    keep_unknown: KeepUnknownOption = False,
    allow_absent: AllowAbsentOption = False,
    as_json: JsonOption = False,
) -> None:
    """Predict the labels of a site's data, and how far predictions depend on what is missing.

    OUT has one row per window, and OUT-recordings.csv one per recording with the means over its windows.
    Columns: record, window (counted from 0 in each recording) or the number of windows, the probability of
    each label (of a regression its value and both ends of a 90 % interval, with the unit), `<label> spread`
    (standard deviation over completions, which shows how much depends on what is missing), and `missing
    modalities`: those without any sample. Files that cannot be used are listed at the end, and the exit code
    is then 1.

    Example: condi predict --model runs/demo --data /srv/condi/north --out predictions.csv
    """
    from client_app.inference.opening import errors_and_progress, open_run
    from client_app.inference.predict import predict_to_csv
    from client_app.inference.recording_reader import ReadingOptions
    from client_app.inference.site_data import open_site_data
    from client_app.inference.site_description import SiteSettings

    settings = SiteSettings(description, local)
    options = ReadingOptions(resample, keep_unknown, allow_absent)
    with errors_and_progress() as progress:
        run = open_run(model, data, device)
        with open_site_data(model, run, data, settings, options, progress) as source:
            summary = predict_to_csv(run, source, data, out, samples, method, seed, progress)
    if as_json:
        typer.echo(json.dumps(summary.as_dict()))
    else:
        _list_findings(summary.notes, summary.skipped)
        typer.echo(summary.sentence())
    if summary.skipped:
        raise typer.Exit(1)


def evaluate(
    model: ModelOption,
    data: EvaluatedDataOption,
    split: Annotated[
        Literal["train", "val", "test", "all"],
        typer.Option(
            help="Windows to evaluate; `train` and `all` only at sites that took no part in the run."
        ),
    ] = "test",
    bootstrap: Annotated[
        int, typer.Option(min=0, help="Bootstrap resamples of patients; 0 for no intervals.")
    ] = 1000,
    as_measured: Annotated[
        bool, typer.Option("--as-measured", help="Classify without simulated missingness.")
    ] = False,
    device: DeviceOption = "auto",
    description: DescriptionOption = None,
    local: LocalOption = None,
    as_json: JsonOption = False,
) -> None:
    """Evaluate a run on data that it was not trained on: imputation and naive baselines, and classification.

    Simulated missingness is that of the run's test windows. Intervals are 95 % confidence intervals over
    patients. Files with labels are read as --map and --local say.

    Example: condi evaluate --model runs/demo --data /srv/condi/north --split all
    """
    from client_app.inference.evaluate import evaluate_run
    from client_app.inference.evaluation_tables import evaluation_tables
    from client_app.inference.opening import errors_and_progress
    from client_app.inference.site_description import SiteSettings

    with errors_and_progress() as progress:
        settings = SiteSettings(description, local)
        evaluation = evaluate_run(model, data, settings, split, bootstrap, as_measured, device, progress)
    if as_json:
        typer.echo(json.dumps(evaluation))
    else:
        _list_findings(evaluation["notes"], evaluation["skipped"])
        typer.echo("\n\n".join(table.to_text() for table in evaluation_tables(evaluation)))
    if evaluation["skipped"]:
        raise typer.Exit(1)


def plot(
    model: Annotated[Path, typer.Option(help="Folder of a run, or the imputer.safetensors in it.")],
    data: PartitionOption,
    out: Annotated[Path, typer.Option(help="Picture to write (.png, .svg, .pdf).")],
    record: Annotated[str, typer.Option(help="Record id. Default: the first test record.")] = "",
    seconds: Annotated[
        float | None,
        typer.Option(min=0.1, help="Seconds to show, where most is hidden. Default: as many as can be read."),
    ] = None,
    gaps: Annotated[float, typer.Option(min=0, max=0.9, help="Fraction of time to hide in gaps.")] = 0.25,
    modalities: Annotated[float, typer.Option(min=0, max=0.9, help="Fraction of modalities to hide.")] = 0.25,
    seed: Annotated[int, typer.Option(help="Seed of the missingness and of the draws.")] = 0,
) -> None:
    """Plot a window with simulated missingness: truth, observed samples, median and 90 % interval."""
    from client_app.inference.opening import errors_and_progress
    from client_app.inference.plot import plot_window

    with errors_and_progress(ValueError):  # matplotlib raises it for an unknown file format
        title = plot_window(model, data, out, record, seconds, gaps, modalities, seed)
    typer.echo(f"{title}: {out}")


def _list_findings(notes: list[str], skipped: list[str]) -> None:
    """List what was unusual in files that were used, and why others were not."""
    from data_partitions.console import echo_line

    for note in notes:
        echo_line(f"note: {note}", err=True)
    for reason in skipped:
        echo_line(f"skipped: {reason}", err=True)
