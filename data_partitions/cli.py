"""The commands `condi prepare` and `condi inspect`.

The functions import the modules that read data, so that the help does not wait for pandas.
"""

import inspect as inspection
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from data_partitions.console import one_sentence_errors, progress_bars
from data_partitions.described_cli import DESCRIBED_COMMAND, DatasetGroup, prepare_described
from data_partitions.errors import DataError
from data_partitions.preparation_log import PreparationLog
from data_partitions.prepare_options import (
    DEFAULT_SMALLEST_SITE,
    SPLIT_HELP,
    Alpha,
    Modalities,
    Seed,
    Sites,
    SmallestSite,
    Source,
    Split,
    Strict,
    explain_interruption,
    parse_modalities,
    print_wrapped,
    show_preparation,
)

prepare = typer.Typer(
    cls=DatasetGroup,
    name="prepare",
    help="Make the partitions of the sites from the files of a data set.",
    no_args_is_help=True,
    add_completion=False,
)
prepare.command(DESCRIBED_COMMAND)(prepare_described)

Out = Annotated[Path, typer.Option(help="Directory of the federation; it must not exist.")]


def _shared_options(
    source: Source,
    out: Out,
    sites: Sites = None,
    split: Split = "natural",
    alpha: Alpha = 0.5,
    smallest_site: SmallestSite = DEFAULT_SMALLEST_SITE,
    seed: Seed = 0,
    modalities: Modalities = "all",
    strict: Strict = False,
    download: Annotated[
        bool, typer.Option("--download", help="First fetch what is missing in --source.")
    ] = False,
) -> None:
    """Declare the options of all data sets; only the signature is used."""


def _dataset_command(name: str) -> Callable[[Callable[..., None]], None]:
    """Add the command of a data set. The decorated function declares the data set's options.

    These options come before --strict and --download. An option with the name of a shared one replaces it.
    """

    def add_command(declare_options: Callable[..., None]) -> None:
        shared = dict(inspection.signature(_shared_options).parameters)
        trailing = {option: shared.pop(option) for option in ("strict", "download")}
        parameters = {**shared, **inspection.signature(declare_options).parameters, **trailing}

        def command(**settings: Any) -> None:
            _prepare(name, **settings)

        command.__signature__ = inspection.Signature(list(parameters.values()))  # type: ignore[attr-defined]
        command.__annotations__ = {option: p.annotation for option, p in parameters.items()}
        prepare.command(name, help=declare_options.__doc__)(command)

    return add_command


@_dataset_command("ptb-xl")
def _ptb_xl(
    rate: Annotated[int, typer.Option(help="100 or 500 (Hz).")] = 100,
    label_rule: Annotated[
        Literal["any", "100"], typer.Option(help="Likelihood at which a statement counts.")
    ] = "any",
    task: Annotated[
        Literal["multi-label", "single-label"],
        typer.Option(help="single-label: only records with exactly one superclass."),
    ] = "multi-label",
) -> None:
    """PTB-XL: 12-lead ECGs of 10 s, five diagnostic superclasses; natural sites by recording site."""


@_dataset_command("sleep-edf")
def _sleep_edf(
    sites: Sites = 4,
    split: Annotated[Literal["iid", "dirichlet"], typer.Option(help=SPLIT_HELP)] = "iid",
    wake_minutes: Annotated[
        float, typer.Option(min=0, help="Minutes of wake before the first and after the last sleep epoch.")
    ] = 30.0,
) -> None:
    """Sleep-EDF Expanded: cassette nights in epochs of 30 s, five sleep stages."""


@_dataset_command("mimic-iv")
def _mimic_iv(
    task: Annotated[
        Literal["mortality", "length-of-stay", "remaining-days"],
        typer.Option(help="In-hospital death, or remaining days in ten classes or as a number."),
    ] = "mortality",
    chartevents: Annotated[
        Path | None, typer.Option(help="File of chart events, if it is not icu/chartevents.csv(.gz).")
    ] = None,
) -> None:
    """MIMIC-IV: the first 48 h of ICU stays by the hour; natural sites by first care unit."""


@_dataset_command("physionet-2012")
def _physionet_2012() -> None:
    """PhysioNet Challenge 2012: 48 h of ICU stays by the hour, hospital death; natural sites by ICU type."""


@prepare.command("demo")
def _demo(out: Out) -> None:
    """Make a demo of generated ECGs at four hospitals. Does nothing if it exists."""
    from data_partitions.sources.demo import prepare_demo

    with one_sentence_errors(), progress_bars() as progress:
        log = PreparationLog(progress=progress)
        federation = prepare_demo(out, log)
    show_preparation(federation.path, log)


def _prepare(
    dataset: str,
    source: Path,
    out: Path,
    modalities: str,
    strict: bool,
    download: bool,
    **settings: Any,
) -> None:
    from data_partitions.prepare import prepare_federation
    from data_partitions.storage import require_absent

    reader = import_module(f"data_partitions.sources.{dataset.replace('-', '_')}")
    with one_sentence_errors(), explain_interruption(), progress_bars() as progress:
        log = PreparationLog(strict, progress)
        require_absent(out)
        if source.is_file():
            raise DataError(f"--source must be the folder of the data set, but {source} is a file")
        if download:
            reader.download(source, log, **settings)
        prepare_federation(reader, source, out, modalities=parse_modalities(modalities), log=log, **settings)
    show_preparation(out, log)


def inspect(
    path: Annotated[Path, typer.Argument(help="A federation, or one site of it.")],
    plot: Annotated[
        Path | None,
        typer.Option(help="File for a picture of windows and label counts (.png, .svg, .pdf)."),
    ] = None,
) -> None:
    """Show what a site or a federation holds: windows, patients, labels, modalities, and what is missing."""
    from data_partitions.inspection import (
        covariates_table,
        labels_table,
        modalities_table,
        open_sites,
        sites_table,
    )
    from data_partitions.picture import plot_sites

    with one_sentence_errors():
        partitions = open_sites(path)
        with progress_bars() as progress:
            modalities = modalities_table(partitions, progress)
        tables = (sites_table(partitions), labels_table(partitions), covariates_table(partitions), modalities)
        for table in filter(None, tables):
            typer.echo(table.to_text() + "\n")
        print_wrapped(f"Labels: {partitions[0].manifest.label_rule}.")
        if plot is not None:
            plot_sites(partitions, plot)
            typer.echo(f"Picture written to {plot}")
