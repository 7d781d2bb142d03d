"""`condi prepare dataset.toml`: the partition of one site, or a federation, from a hospital's own files."""

from pathlib import Path
from typing import Annotated, Literal

import typer
from typer.core import TyperGroup

from data_partitions.console import one_sentence_errors, progress_bars
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
    Strict,
    explain_interruption,
    parse_modalities,
    show_preparation,
)

DESCRIBED_COMMAND = "dataset.toml"  # stands for any file


class DatasetGroup(TyperGroup):
    """A group of commands by data set, in which the name of a description is a command as well."""

    def resolve_command(self, ctx, args):
        """Pass the name of a file on to the command of descriptions."""
        if args and args[0].endswith(".toml"):
            return DESCRIBED_COMMAND, self.get_command(ctx, DESCRIBED_COMMAND), args
        return super().resolve_command(ctx, args)


def prepare_described(
    description: Annotated[Path, typer.Argument(help="The description of the data set.", metavar="FILE")],
    source: Source,
    out: Annotated[Path, typer.Option(help="Directory of the partition or federation; it must not exist.")],
    site: Annotated[
        str | None, typer.Option(help="Name of this site, as it is registered; the result is one partition.")
    ] = None,
    split: Annotated[
        Literal["natural", "column", "iid", "dirichlet"] | None,
        typer.Option(help=f"{SPLIT_HELP} natural, or column: by `site` of the table."),
    ] = None,
    sites: Sites = None,
    alpha: Alpha = 0.5,
    smallest_site: SmallestSite = DEFAULT_SMALLEST_SITE,
    seed: Seed = 0,
    modalities: Modalities = "all",
    local: Annotated[
        Path | None,
        typer.Option(help="A file with what differs at this site: files, table, and channels of signals."),
    ] = None,
    strict: Strict = False,
) -> None:
    """A hospital's own files, as a description says: --site NAME, or --split for a federation to simulate.

    What cannot be used is named at the end, and the exit status is 0; with --strict it is an error.

    A command that was interrupted goes on where it was when it is repeated.
    """
    with one_sentence_errors(), explain_interruption(), progress_bars() as progress:
        from data_partitions.description.reading import read_description
        from data_partitions.prepare import prepare_federation, prepare_site
        from data_partitions.sources.described.reader import DescribedDataset
        from data_partitions.storage import require_absent

        require_absent(out)
        if (site is None) == (split is None):
            raise DataError("give --site NAME for one partition, or --split iid --sites 3 for a federation")
        reader = DescribedDataset(read_description(description, local))
        log = PreparationLog(strict, progress)
        selected = parse_modalities(modalities)
        if site is not None:
            prepare_site(reader, source, out, site, modalities=selected, log=log)
        else:
            prepare_federation(
                reader,
                source,
                out,
                sites=sites,
                split="natural" if split == "column" else str(split),
                alpha=alpha,
                smallest_site=smallest_site,
                seed=seed,
                modalities=selected,
                log=log,
            )
    show_preparation(out, log)
