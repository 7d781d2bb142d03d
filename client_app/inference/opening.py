"""Open models and data for the commands on a trained run, and report their errors and progress."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from client_app.device import find_device
from condi_core.config import ConfigError
from condi_core.loading import load_model
from condi_core.model import TrainedRun
from condi_core.run_files import RunFileError
from condi_core.weights_file import WeightsFileError
from data_partitions import DataError
from data_partitions.console import one_sentence_errors, progress_bars
from data_partitions.layout import detect_partition
from data_partitions.partition import Partition
from data_partitions.preparation_log import ProgressCallback


@contextmanager
def errors_and_progress(*errors: type[Exception]) -> Iterator[ProgressCallback]:
    """Show expected errors, and those named, as one sentence; yield a callback that shows progress."""
    with (
        one_sentence_errors(WeightsFileError, RunFileError, ConfigError, *errors),
        progress_bars() as progress,
    ):
        yield progress


def open_run(run: Path, data: Path, device: str) -> TrainedRun:
    """Load the models of a run.

    Parameters
    ----------
    run : Path
        Folder of the run.
    data : Path
        A partition or native files. If a method trained one model per site, that of the partition's site
        is loaded.
    device : str
        Name of a device, as `find_device` takes it.
    """
    site = Partition.open(data, check=False).manifest.site if detect_partition(data) else ""
    return load_model(run, find_device(device), site)


def open_compatible_partition(model: TrainedRun, data: Path) -> Partition:
    """Open a partition; DataError when the model cannot read its windows."""
    partition = Partition.open(data, check=False)
    partition.require_measured()
    expected, actual = model.schema.model_dump(mode="json"), partition.manifest.schema_fields()
    different = [key for key in ("modalities", "patch_seconds", "patches") if expected[key] != actual[key]]
    if different:
        schema = model.schema
        modalities = ", ".join(
            f"{m.name} ({m.unit}, {m.samples_per_patch} samples per patch)" for m in schema.modalities
        )
        raise DataError(
            f"{data} has other {', '.join(different)} than the model, which reads {schema.patches} patches "
            f"of {schema.patch_seconds:g} s of {modalities}"
        )
    return partition
