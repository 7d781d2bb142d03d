"""Options that the commands on a trained run share, and how they open model and data."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from client_app.device import find_device
from condi_core.model import TrainedRun, load_model
from data_partitions import DataError
from data_partitions.partition import Partition

ModelOption = Annotated[Path, typer.Option("--model", help="Folder of a run.", show_default=False)]
DataOption = Annotated[
    Path,
    typer.Option(
        "--data", help="A partition; or files: WFDB records (.hea), .edf, .csv of hours, or a folder of them."
    ),
]
DeviceOption = Annotated[str, typer.Option(help="auto, cpu, cuda or cuda:NUMBER.")]
ResampleOption = Annotated[bool, typer.Option("--resample", help="Accept files of other sampling rates.")]
KeepUnknownOption = Annotated[
    bool,
    typer.Option("--keep-unknown", help="Leave channels alone that the model does not know."),
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print what was done as one JSON object.")]


def open_run(run: Path, data: Path, device: str) -> TrainedRun:
    """What the run has learned; of methods that train a model per site, what the site of `data` has."""
    site = Partition.open(data, check=False).manifest.site if is_partition(data) else ""
    return load_model(run, find_device(device), site)


def is_partition(data: Path) -> bool:
    """Whether it is a site's partition, else files; DataError when it is a whole federation."""
    if (data / "federation.json").exists():
        raise DataError(f"{data} is a federation, not one site: give a site in it")
    return (data / "manifest.json").exists()
