"""The commands `condi dataset`: write the description of a data set, and check it against files.

The functions import the modules that read data, so that the help does not wait for pandas.
"""

from pathlib import Path
from typing import Annotated, Literal

import typer

from data_partitions.console import one_sentence_errors, progress_bars

dataset = typer.Typer(
    name="dataset",
    no_args_is_help=True,
    add_completion=False,
)

TemplateFormat = Literal["wfdb", "edf", "csv", "parquet", "npy", "meds"]


@dataset.callback()
def _dataset() -> None:
    """Describe the data set of a federation in a file, dataset.toml."""


@dataset.command("new")
def _new(
    file_format: Annotated[
        TemplateFormat, typer.Argument(metavar="wfdb|edf|csv|parquet|npy|meds", help="Format of the files.")
    ],
) -> None:
    """Print a template, in which comments explain each key: condi dataset new csv > dataset.toml."""
    from data_partitions.description.template import read_template

    typer.echo(read_template(file_format), nl=False)


@dataset.command("guess")
def _guess(
    folder: Annotated[Path, typer.Argument(help="Folder of the files.")],
) -> None:
    """Print a draft from the files of a folder: condi dataset guess FOLDER > dataset.toml."""
    from data_partitions.checks.guess.guess import guess_description

    with one_sentence_errors(), progress_bars() as progress:
        text = guess_description(folder, progress)
    typer.echo(text, nl=False)
