"""Options that the commands on a trained run share; imports nothing slow."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

ModelOption = Annotated[Path, typer.Option("--model", help="Folder of a run.", show_default=False)]
DataOption = Annotated[
    Path,
    typer.Option(
        "--data",
        help="A partition; or a WFDB record (.hea), an .edf, a .csv of hourly values, or a folder of "
        "such files.",
    ),
]
PartitionOption = Annotated[Path, typer.Option("--data", help="Partition of a site.")]
DeviceOption = Annotated[str, typer.Option(help="Device to compute on: auto, cpu, cuda or cuda:NUMBER.")]
ResampleOption = Annotated[
    bool, typer.Option("--resample", help="Resample files whose sampling rate differs from the model's.")
]
KeepUnknownOption = Annotated[
    bool, typer.Option("--keep-unknown", help="Copy channels that the model does not know, unchanged.")
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print the result as one JSON object.")]
