"""Options and output that the commands of `condi prepare` share."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Literal

import typer
from rich.console import Console

from data_partitions.console import echo_line
from data_partitions.preparation_log import PreparationLog
from data_partitions.sentences import count_noun
from data_partitions.table import printable

Source = Annotated[Path, typer.Option(help="Folder of the data set.")]
Sites = Annotated[
    int | None, typer.Option(help="Number of sites; by default natural splits have all hospitals.")
]
MAX_LISTED_REJECTIONS = 50
INTERRUPTED_STATUS = 130
SPLIT_HELP = "How patients are assigned to sites."
Split = Annotated[Literal["natural", "iid", "dirichlet"], typer.Option(help=SPLIT_HELP)]
Alpha = Annotated[
    float, typer.Option(help="Parameter of the Dirichlet split; small values make sites more unequal.")
]
SmallestSite = Annotated[
    int,
    typer.Option(
        min=0,
        help="Training windows that a hospital must have in a natural split; smaller ones are merged.",
    ),
]
Seed = Annotated[int, typer.Option(min=0, help="Seed of the split and of the modalities.")]
Modalities = Annotated[
    str, typer.Option(help='Modalities of each site: all, a number, or names like "I,II,V1".')
]
Strict = Annotated[bool, typer.Option("--strict", help="Stop at the first record that cannot be used.")]
DEFAULT_SMALLEST_SITE = 10


def parse_modalities(text: str) -> int | str | tuple[str, ...]:
    """Return "all", a number, or names."""
    if text == "all":
        return text
    return int(text) if text.strip().isdecimal() else tuple(name.strip() for name in text.split(","))


@contextmanager
def explain_interruption() -> Iterator[None]:
    """End the command with a sentence when it is interrupted."""
    try:
        yield
    except KeyboardInterrupt:
        typer.echo("Interrupted: give the same command again to go on.", err=True)
        raise typer.Exit(INTERRUPTED_STATUS) from None


def show_preparation(path: Path, log: PreparationLog) -> None:
    """Print what a partition or a federation holds, and what was left out and why."""
    from data_partitions.inspection import open_sites, sites_table

    partitions = open_sites(path)
    typer.echo(sites_table(partitions).to_text() + "\n")
    manifest = partitions[0].manifest
    if manifest.labels:
        print_wrapped(f"Labels: {', '.join(manifest.labels)}: {manifest.label_rule}.")
    if manifest.description:
        print_wrapped(f"The description has the hash {manifest.description_hash}.")
    for sentence in (*log.notes, *log.counted()):
        print_wrapped(sentence)
    if log.rejected:
        print_wrapped(f"Excluded because they cannot be used: {count_noun(len(log.rejected), 'record')}.")
        for sentence in log.rejected[:MAX_LISTED_REJECTIONS]:
            echo_line(f"  {sentence}")
        if (more := len(log.rejected) - MAX_LISTED_REJECTIONS) > 0:
            typer.echo(f"  and {more} more")
    typer.echo(f"Written to {path}")


def print_wrapped(text: str) -> None:
    """Print a text in lines of 80 characters."""
    Console(width=80, highlight=False, markup=False).print(printable(text))
