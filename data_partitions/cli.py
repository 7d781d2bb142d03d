"""`condi prepare` and `condi inspect`: what a data engineer types."""

from pathlib import Path
from types import ModuleType
from typing import Annotated, Literal

import typer
from rich.console import Console

from data_partitions.console import one_sentence_errors, progress_bars
from data_partitions.errors import DataError
from data_partitions.federation import Federation
from data_partitions.inspection import labels_table, modalities_table, open_sites, sites_table
from data_partitions.picture import plot_sites
from data_partitions.preparation_log import PreparationLog
from data_partitions.prepare import prepare_federation
from data_partitions.sources import mimic_iv, physionet_2012, ptb_xl, sleep_edf
from data_partitions.storage import require_absent

prepare = typer.Typer(
    name="prepare",
    help="Make the sites' partitions from the files of a data set.",
    no_args_is_help=True,
    add_completion=False,
)

Source = Annotated[Path, typer.Option(help="Folder of the data set.")]
Out = Annotated[Path, typer.Option(help="Directory of the federation; must not exist yet.")]
Sites = Annotated[int | None, typer.Option(help="Number of sites; natural: all.")]
Split = Annotated[Literal["natural", "iid", "dirichlet"], typer.Option(help="How patients go to sites.")]
Alpha = Annotated[float, typer.Option(help="Dirichlet split: small is more unequal.")]
Seed = Annotated[int, typer.Option(min=0, help="Seed of the split and of the modalities.")]
Modalities = Annotated[
    str, typer.Option(help='Modalities that a site has: all, a number, or names like "I,II,V1".')
]
Strict = Annotated[bool, typer.Option("--strict", help="Stop at the first record that cannot be used.")]
Download = Annotated[
    bool, typer.Option("--download", help="First fetch the data set to --source, or the rest of it.")
]


@prepare.command("ptb-xl")
def _ptb_xl(
    source: Source,
    out: Out,
    sites: Sites = None,
    split: Split = "natural",
    alpha: Alpha = 0.5,
    seed: Seed = 0,
    modalities: Modalities = "all",
    rate: Annotated[int, typer.Option(help="100 or 500 (Hz).")] = 100,
    label_rule: Annotated[
        Literal["any", "100"], typer.Option(help="Likelihood at which a statement counts.")
    ] = "any",
    task: Annotated[
        Literal["multi-label", "single-label"],
        typer.Option(help="single-label: only records with exactly one superclass."),
    ] = "multi-label",
    strict: Strict = False,
    download: Download = False,
) -> None:
    """PTB-XL: 12-lead ECGs of 10 s, five diagnostic superclasses; hospitals by recording site."""
    _prepare(ptb_xl, **locals())


@prepare.command("sleep-edf")
def _sleep_edf(
    source: Source,
    out: Out,
    sites: Sites = 4,
    split: Annotated[Literal["iid", "dirichlet"], typer.Option(help="How subjects go to sites.")] = "iid",
    alpha: Alpha = 0.5,
    seed: Seed = 0,
    modalities: Modalities = "all",
    wake_minutes: Annotated[
        float, typer.Option(min=0, help="Wake kept before the first and after the last sleep epoch.")
    ] = 30.0,
    strict: Strict = False,
    download: Download = False,
) -> None:
    """Sleep-EDF Expanded: cassette nights in epochs of 30 s, five sleep stages."""
    _prepare(sleep_edf, **locals())


@prepare.command("mimic-iv")
def _mimic_iv(
    source: Source,
    out: Out,
    sites: Sites = None,
    split: Split = "natural",
    alpha: Alpha = 0.5,
    seed: Seed = 0,
    modalities: Modalities = "all",
    task: Annotated[
        Literal["mortality", "length-of-stay"],
        typer.Option(help="In-hospital death, or remaining days in ten classes."),
    ] = "mortality",
    chartevents: Annotated[
        Path | None, typer.Option(help="File of chart events, where it is not icu/chartevents.csv(.gz).")
    ] = None,
    strict: Strict = False,
    download: Download = False,
) -> None:
    """MIMIC-IV: the first 48 h of ICU stays by the hour; hospitals by first care unit."""
    _prepare(mimic_iv, **locals())


@prepare.command("physionet-2012")
def _physionet_2012(
    source: Source,
    out: Out,
    sites: Sites = None,
    split: Split = "natural",
    alpha: Alpha = 0.5,
    seed: Seed = 0,
    modalities: Modalities = "all",
    strict: Strict = False,
    download: Download = False,
) -> None:
    """PhysioNet Challenge 2012: 48 h of ICU stays by the hour, in-hospital death; hospitals by ICU type."""
    _prepare(physionet_2012, **locals())


@prepare.command("demo")
def _demo(out: Out) -> None:
    """Generated ECGs at four hospitals, for trying things out. Does nothing when they are there."""
    from data_partitions.sources.demo import prepare_demo  # which needs what this module needs

    with one_sentence_errors(), progress_bars() as progress:
        report = PreparationLog(progress=progress)
        federation = prepare_demo(out, report)
    _say_what_was_made(federation, report)


def _prepare(
    reader: ModuleType, source: Path, out: Path, modalities: str, strict: bool, download: bool, **settings
) -> None:
    with one_sentence_errors(), progress_bars() as progress:
        report = PreparationLog(strict, progress)
        require_absent(out)
        if source.is_file():
            raise DataError(f"--source must be the folder of the data set, {source} is a file")
        if download:
            reader.download(source, report, **settings)
        federation = prepare_federation(
            reader, source, out, modalities=_parse_modalities(modalities), report=report, **settings
        )
    _say_what_was_made(federation, report)


def inspect(
    path: Annotated[Path, typer.Argument(help="A federation, or one site of it.")],
    plot: Annotated[
        Path | None, typer.Option(help="Picture of windows and label counts to write (.png, .svg, .pdf).")
    ] = None,
) -> None:
    """Show what a site or a federation holds: modalities, windows, patients, labels, what is missing."""
    with one_sentence_errors():
        partitions = open_sites(path)
        with progress_bars() as progress:
            modalities = modalities_table(partitions, progress)
        for table in (sites_table(partitions), labels_table(partitions), modalities):
            typer.echo(table.to_text() + "\n")
        _print(f"Labels: {partitions[0].manifest.label_rule}.")
        if plot is not None:
            plot_sites(partitions, plot)
            typer.echo(f"Picture: {plot}")


def _parse_modalities(text: str) -> int | str | tuple[str, ...]:
    if text == "all":
        return text
    return int(text) if text.strip().isdecimal() else tuple(name.strip() for name in text.split(","))


def _say_what_was_made(federation: Federation, report: PreparationLog) -> None:
    partitions = open_sites(federation.path)
    typer.echo(sites_table(partitions).to_text() + "\n")
    manifest = partitions[0].manifest
    _print(f"Labels: {', '.join(manifest.labels)}: {manifest.label_rule}.")
    for note in report.notes:
        _print(note)
    if report.bad:
        _print(f"Left out as they cannot be used: {len(report.bad)} records.")
        for sentence in report.bad:
            typer.echo(f"  {sentence}")
    typer.echo(f"Written to {federation.path}")


def _print(*parts) -> None:
    Console(width=80, highlight=False, markup=False).print(*parts, sep="\n")
