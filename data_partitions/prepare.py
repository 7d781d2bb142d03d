"""`condi prepare`: from the files of a data set to a federation of site partitions."""

import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import Annotated, Literal

import numpy as np
import pandas as pd
import typer
from pydantic import ValidationError
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

from data_partitions.errors import DataError
from data_partitions.federation import (
    Federation,
    assign_patients,
    in_site_order,
    site_modalities,
    write_federation,
)
from data_partitions.manifest import SPLITS, Manifest
from data_partitions.sources import ptb_xl
from data_partitions.storage import refuse_existing

OnWindow = Callable[[int, int], None]


def prepare_federation(
    reader: ModuleType,
    source: str | Path,
    out: str | Path,
    *,
    sites: int | None = None,
    split: str = "natural",
    alpha: float = 0.5,
    seed: int = 0,
    modalities: int | str | Sequence[str] = "all",
    notes: list[str] | None = None,
    on_window: OnWindow | None = None,
    **options,
) -> Federation:
    """Read `source` with a module of `sources`, give its patients to sites and write the federation.

    `options` go to the reader (for PTB-XL rate, label_rule, task); the rest is explained at
    `assign_patients` and `site_modalities`. `notes` gathers sentences about what was left out, `on_window`
    is called with the number of windows written and of all. Raises DataError; `out` then does not exist.
    """
    notes = [] if notes is None else notes
    refuse_existing(Path(out))
    schema = reader.schema(source, **options)
    index = reader.index(source, notes=notes, **options)
    labels = list(schema["labels"])
    unlabelled = ~index[labels].any(axis=1)
    if unlabelled.any():
        notes.append(f"Left out as they have none of the labels: {int(unlabelled.sum())} records.")
        index = index[~unlabelled]
    if index.empty:
        raise DataError(f"no record of {source} is left to prepare: {' '.join(notes)}")
    home = assign_patients(index, sites, split, seed, alpha, labels=labels, notes=notes)
    of_site = index["patient_id"].map(home)
    settings = {
        "sites": sites,
        "split": split,
        "alpha": alpha,
        "seed": seed,
        "modalities": modalities,
        **options,
    }
    made_by = "condi prepare, " + ", ".join(f"{key}={value}" for key, value in settings.items())
    done = 0

    def windows(rows: pd.DataFrame) -> Iterator[np.ndarray]:
        nonlocal done
        for _, row in rows.iterrows():
            yield reader.read(source, row)
            done += 1
            if on_window:
                on_window(done, len(index))

    def partitions():
        for number, site in enumerate(in_site_order(set(home.values()))):
            rows = index[of_site == site]
            names = [m["name"] for m in schema["modalities"]]
            present = site_modalities(names, modalities, number, seed)
            fields = {
                **schema,
                "modalities": [{**m, "present": m["name"] in present} for m in schema["modalities"]],
                "windows": {name: int((rows["split"] == name).sum()) for name in SPLITS},
            }
            yield Manifest(site=site, made_by=made_by, **fields), rows, windows(rows)

    return write_federation(
        out, partitions(), dataset=schema["dataset"], split=split, seed=seed, made_by=made_by
    )


prepare = typer.Typer(help="Make the sites' partitions from the files of a data set.", no_args_is_help=True)

Out = Annotated[Path, typer.Option(help="Directory of the federation; must not exist yet.")]


@prepare.command("ptb-xl")
def _ptb_xl(
    source: Annotated[Path, typer.Option(help="Folder of the unpacked PTB-XL.")],
    out: Out,
    sites: Annotated[int | None, typer.Option(help="Number of sites; natural: all.")] = None,
    split: Annotated[
        Literal["natural", "iid", "dirichlet"], typer.Option(help="How patients go to sites.")
    ] = "natural",
    alpha: Annotated[float, typer.Option(help="Dirichlet split: small is more unequal.")] = 0.5,
    seed: Annotated[int, typer.Option(min=0, help="Seed of the split and of the modalities.")] = 0,
    rate: Annotated[int, typer.Option(help="100 or 500 (Hz).")] = 100,
    label_rule: Annotated[
        Literal["any", "100"], typer.Option(help="Likelihood at which a statement counts.")
    ] = "any",
    task: Annotated[
        Literal["multi-label", "single-label"],
        typer.Option(help="single-label: only records with exactly one superclass."),
    ] = "multi-label",
    modalities: Annotated[
        str, typer.Option(help='Leads that a site has: all, a number, or names like "I,II,V1".')
    ] = "all",
) -> None:
    """PTB-XL: 12-lead ECGs, five diagnostic superclasses."""
    notes: list[str] = []
    with _one_sentence_errors(), _progress() as on_window:
        federation = prepare_federation(
            ptb_xl,
            source,
            out,
            sites=sites,
            split=split,
            alpha=alpha,
            seed=seed,
            modalities=_parse_modalities(modalities),
            notes=notes,
            on_window=on_window,
            rate=rate,
            label_rule=label_rule,
            task=task,
        )
    _print_summary(federation, notes)


@prepare.command("demo")
def _demo(out: Out) -> None:
    """Generated ECGs at four hospitals, for trying things out. Does nothing when they are there."""
    from data_partitions.sources.demo import prepare_demo  # which needs this module

    notes: list[str] = []
    with _one_sentence_errors(), _progress() as on_window:
        federation = prepare_demo(out, notes=notes, on_window=on_window)
    _print_summary(federation, notes)


def _parse_modalities(text: str) -> int | str | tuple[str, ...]:
    if text == "all":
        return text
    return int(text) if text.strip().isdigit() else tuple(name.strip() for name in text.split(","))


@contextmanager
def _one_sentence_errors() -> Iterator[None]:
    try:
        yield
    except ValidationError as error:  # such as a name in the source that cannot become a folder's
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"]))
        typer.echo(f"Error: {where}: {first['msg']}, got {first['input']!r}", err=True)
        raise typer.Exit(1) from None
    except (DataError, OSError) as error:
        typer.echo(f"Error: {error}", err=True)
        raise typer.Exit(1) from None


@contextmanager
def _progress() -> Iterator[OnWindow]:
    columns = (TextColumn("reading"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    console = Console(stderr=True)
    with Progress(*columns, console=console, transient=True, disable=not sys.stderr.isatty()) as progress:
        bar = progress.add_task("reading", total=None)
        yield lambda done, total: progress.update(bar, completed=done, total=total)


def _modalities_in_words(manifest: Manifest) -> str:
    present = [m.name for m in manifest.modalities if m.present]
    lacking = [m.name for m in manifest.modalities if not m.present]
    if not lacking:
        return f"all {len(present)}"
    some = f"not {' '.join(lacking)}" if len(lacking) < len(present) else " ".join(present)
    return f"{len(present)} of {len(manifest.modalities)}: {some}"


def _print_summary(federation: Federation, notes: list[str]) -> None:
    """What each site holds, in at most 80 columns."""
    partitions = [federation.open_site(site, check=False) for site in federation.sites]
    manifest = partitions[0].manifest
    title = f"{manifest.dataset} ({manifest.version}), {manifest.task}"
    table = Table("site", title=title, title_justify="left", width=None)
    for name in (*SPLITS, "patients"):
        table.add_column(name, justify="right")
    table.add_column("modalities")
    for partition in partitions:
        table.add_row(
            partition.manifest.site,
            *(str(partition.manifest.windows[split]) for split in SPLITS),
            str(len(set(partition.patient_ids))),
            _modalities_in_words(partition.manifest),
        )
    if len(partitions) > 1:
        sums = [sum(p.manifest.windows[split] for p in partitions) for split in SPLITS]
        patients = sum(len(set(p.patient_ids)) for p in partitions)
        table.add_section()
        table.add_row("all", *map(str, sums), str(patients))
    console = Console(width=80, highlight=False)
    console.print(table)
    console.print(f"Labels: {', '.join(manifest.labels)}: {manifest.label_rule}.")
    for note in notes:
        console.print(note)
    console.print(f"Written to {federation.path}", soft_wrap=True)
