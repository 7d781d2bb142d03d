"""Open models and data for the commands on a trained run, and report their errors and progress."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from client_app.device import find_device
from client_app.node.completion_cache import default_cache
from client_app.node.site import Site
from client_app.node.site_relation import use_site_relation
from condi_core.config import ConfigError
from condi_core.loading import load_model
from condi_core.model import TrainedRun
from condi_core.run_files import RunFileError, RunFileMissingError, read_config, read_roster
from condi_core.weights_file import WeightsFileError
from condi_core.windows import Schema
from data_partitions import DataError
from data_partitions.console import one_sentence_errors, progress_bars
from data_partitions.layout import detect_partition
from data_partitions.partition import IMPUTED_FOLDER, Partition
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
    """Load the models of a run; of methods with one model per site, that of the partition's site.

    Where the partition is that of a site of the run, imputers get the relation between modalities of the
    site, as they had it in the run.
    """
    if not detect_partition(data):
        return load_model(run, find_device(device))
    partition = Partition.open(data, check=False)
    name = partition.manifest.site
    model = load_model(run, find_device(device), name)
    imputers = [model.imputer, *(classifier.imputer for classifier in model.classifiers.values())]
    if any(imputers) and not (data / IMPUTED_FOLDER).exists() and _took_part(run, name):
        open_compatible_partition(model, data)
        site = Site(name, partition, read_config(run), model.device, default_cache())
        for imputer in {id(imputer): imputer for imputer in imputers if imputer is not None}.values():
            use_site_relation(site, imputer)
    return model


def _took_part(run: Path, site: str) -> bool:
    """Whether a site is in the roster of a run; a folder with weights alone has none."""
    try:
        return site in read_roster(run)
    except RunFileMissingError:
        return False


class _MeasuredValues:
    """Values `(window, patch, sample)` of a modality, with NaN instead of what `condi impute` imputed."""

    def __init__(self, values: np.ndarray, imputed: np.ndarray) -> None:
        self.values = values
        self.imputed = imputed

    def __getitem__(self, rows: Any) -> np.ndarray:
        return np.where(self.imputed[rows], np.nan, self.values[rows])


def open_compatible_partition(model: TrainedRun, data: Path) -> Partition:
    """Open a partition; DataError when the model cannot read its windows.

    Of a partition that `condi impute` completed, only what was measured counts as observed.
    """
    partition = Partition.open(data, check=False)
    if (data / IMPUTED_FOLDER).exists():
        measured: dict[str, Any] = {
            name: _MeasuredValues(values, _map_imputed(data, name, values.shape))
            for name, values in partition._arrays.items()
        }
        partition = dataclasses.replace(partition, _arrays=measured)
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


def covariates_of_model(schema: Schema, partition: Partition) -> np.ndarray:
    """Return the covariates of a model (window, covariate); NaN for those that the partition lacks."""
    columns = {c.name: (c.model_dump(), i) for i, c in enumerate(partition.manifest.covariates)}
    numbers = np.full((len(partition), len(schema.covariates)), np.nan, np.float32)
    for position, covariate in enumerate(schema.covariates):
        definition, column = columns.get(covariate.name, (None, 0))
        if definition == covariate.model_dump():
            numbers[:, position] = partition.covariates[:, column]
    return numbers


def _map_imputed(data: Path, modality: str, shape: tuple[int, ...]) -> np.ndarray:
    """Map the mask of imputed samples of a modality into memory; DataError when it does not fit."""
    file = data / IMPUTED_FOLDER / f"{modality}.npy"
    try:
        imputed: np.ndarray = np.load(file, mmap_mode="r", allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        raise DataError(f"{file} cannot be read ({error}): give the partition that was completed") from None
    if imputed.shape != shape or imputed.dtype != bool:
        raise DataError(f"{file} does not fit the values: give the partition that was completed")
    return imputed
