"""The commands `condi dataset`: write the description of a data set, and check it against files.

The functions import the modules that read data, so that the help does not wait for pandas.
"""

from pathlib import Path
from typing import Annotated, Literal

import typer

from data_partitions.console import echo_line, one_sentence_errors, progress_bars

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


@dataset.command("check")
def _check(
    description: Annotated[Path, typer.Argument(help="The description of the data set.", metavar="FILE")],
    source: Annotated[Path, typer.Option(help="Folder of the files.")],
    local: Annotated[Path | None, typer.Option(help="A file with what differs at this site.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Compare a description with the files: what fits, what does not, and what is doubtful, with counts.

    The exit status is 1 if there are errors. The last line is the command to go on with.
    """
    import json

    from data_partitions.checks.check import check_dataset, write_command
    from data_partitions.description.reading import read_description

    with one_sentence_errors(), progress_bars() as progress:
        described = read_description(description, local)
        report = check_dataset(described, source, progress)
    if not report.has_errors:
        report.command = write_command(described, description, source, local)
    echo_line(json.dumps(report.to_json(), indent=2) if as_json else report.to_text())
    if report.has_errors:
        raise typer.Exit(1)
