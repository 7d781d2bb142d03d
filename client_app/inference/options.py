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
        help="A partition, a file (WFDB .hea, EDF, BDF, csv, npy, npz), or a folder of such files.",
    ),
]
EvaluatedDataOption = Annotated[
    Path, typer.Option("--data", help="Partition of a site, or a folder with its files and labels.")
]
PartitionOption = Annotated[Path, typer.Option("--data", help="Partition of a site.")]
DescriptionOption = Annotated[
    Path | None,
    typer.Option(
        "--map",
        help="The dataset.toml by which the site's files are read; the run has its agreed part.",
    ),
]
LocalOption = Annotated[
    Path | None,
    typer.Option(
        "--local",
        help="File with this site's own settings, such as `signals.II.channels`, as for `condi prepare`.",
    ),
]
DeviceOption = Annotated[str, typer.Option(help="Device to compute on: auto, cpu, cuda or cuda:NUMBER.")]
ResampleOption = Annotated[
    bool, typer.Option("--resample", help="Resample files whose sampling rate differs from the model's.")
]
KeepUnknownOption = Annotated[
    bool,
    typer.Option(
        "--keep-unknown",
        help="Channels that the model does not know are none of the signals that a file lacks.",
    ),
]
AllowAbsentOption = Annotated[
    bool,
    typer.Option(
        "--allow-absent", help="Accept files without most of the signals that the model was trained on."
    ),
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print the result as one JSON object.")]
