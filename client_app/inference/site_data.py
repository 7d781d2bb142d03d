"""A site's data as the commands on a trained run read them: a partition, or native files."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import NamedTuple

from client_app.inference.file_covariates import read_file_covariates
from client_app.inference.file_origins import FileOrigins, describe_absent_table
from client_app.inference.linked_tables import find_tables
from client_app.inference.recording_reader import ReadingOptions, RecordingReader
from client_app.inference.site_description import (
    SiteSettings,
    describe_site,
    file_options,
    specs_of_model,
)
from client_app.inference.suitability import usual_samples
from condi_core.model import TrainedRun
from condi_core.windows import Schema
from data_partitions import DataError
from data_partitions.description.sections import (
    Description,
    SplitSection,
    TableSection,
    TaskSection,
    WindowSection,
)
from data_partitions.layout import detect_partition
from data_partitions.manifest import Manifest
from data_partitions.partition import write_partition
from data_partitions.preparation_log import PreparationLog, ProgressCallback
from data_partitions.sources.described.files import match_files
from data_partitions.sources.described.stays import is_over_time
from data_partitions.temporary import scratch_path, temporary_directory, temporary_path
from data_partitions.windows_table import count_windows

TEMPORARY_SITE = "site"
ANY_FILE = "*"  # the pattern of a description in which no site has stated one


class SitePartition(NamedTuple):
    """A partition; why files that it was made from could not be used, and what was unusual in them."""

    path: Path
    skipped: list[str]
    notes: list[str]


@contextmanager
def open_site_data(
    run: Path,
    model: TrainedRun,
    data: Path,
    settings: SiteSettings,
    options: ReadingOptions,
    progress: ProgressCallback,
    completes: bool = False,
) -> Iterator[SitePartition | RecordingReader]:
    """Yield a partition, or a reader of native files.

    Tables of many recordings, or with one value in each row, are read into a partition that exists as long as
    the block runs; so are all described tables over time, unless `completes` says that their files are to be
    completed. DataError when the data or the settings cannot be used.
    """
    if partition := _find_partition(data, settings):
        yield partition
        return
    description = describe_site(model.schema, settings)
    reads_tables = not completes and _is_prepared_alike(model.schema, description, data)
    if reads_tables or _describes_tables(description):
        description, notes = _leave_out_absent_table(description, data)
        # Without a start, windows end at the prediction times of the label file, whose labels are not read.
        times = "" if description.window.start else description.task.file
        unlabelled = description.model_copy(update={"task": TaskSection(file=times), "split": SplitSection()})
        with _prepare_temporarily(unlabelled, data, progress) as prepared:
            yield prepared._replace(notes=[*notes, *prepared.notes])
        return
    yield RecordingReader(
        model.schema,
        specs_of_model(model.schema, description),
        usual_samples(run, model.schema),
        file_options(description),
        options,
        states_names=settings.are_stated,
        window=_window_section(model.schema, description),
        pattern="" if description.files.path == ANY_FILE else description.files.path,
        read_covariates=partial(read_file_covariates, model.schema, description, data),
        find_tables=partial(find_tables, description, data),
        find_origins=partial(FileOrigins, description, data),
    )


def _window_section(schema: Schema, description: Description) -> WindowSection | None:
    """Return how windows were cut for training; None without a description.

    Windows by annotations, which there are none of, are successive ones of the whole recording.
    """
    if not schema.description:
        return None
    window = description.window
    if window.align == "annotations":
        window = window.model_copy(update={"stride": window.length})
    return window if window.take in ("first", "last") else window.model_copy(update={"take": "all"})


def _describes_tables(description: Description) -> bool:
    """Whether a site has stated that its files are tables that no recording can be completed in."""
    files = description.files
    return files.format in ("parquet", "meds") or bool(files.variable or files.record)


def _is_prepared_alike(schema: Schema, description: Description, data: Path) -> bool:
    """Whether `condi prepare` reads the files as tables over time, into windows such as those of a model.

    Only as such they have its steps, its preferences between channels and all its forms of times.
    """
    return (
        bool(schema.description)
        and is_over_time(description)
        and data.is_dir()
        and bool(match_files(data, description.files.path, in_archives=True))
    )


def _leave_out_absent_table(description: Description, data: Path) -> tuple[Description, list[str]]:
    """Return a description without its table where that is not in the folder, and a note about it."""
    table, reads_path = description.table, description.files.format == "meds"
    if not table.path or reads_path or not data.is_dir() or match_files(data, table.path):
        return description, []
    named_by_path = table.record if "{" in table.record else ""
    without = {
        "table": TableSection(record=named_by_path, properties=table.properties),
        "window": description.window.model_copy(update={"start": ""}),
        "covariates": {},
    }
    return description.model_copy(update=without), [describe_absent_table(description, data)]


@contextmanager
def open_labelled_partition(
    schema: Schema, data: Path, settings: SiteSettings, progress: ProgressCallback
) -> Iterator[SitePartition]:
    """Yield a partition with labels: that at `data`, or one of the files there that exists in the block.

    The description of the schema says how labels are read. DataError when data or settings cannot be used.
    """
    if partition := _find_partition(data, settings):
        yield partition
        return
    if not settings.are_stated:
        raise DataError(
            f"{data} is not a partition: prepare one, or give --map with the dataset.toml that says how the "
            "files of values and labels are written"
        )
    description = describe_site(schema, settings)
    if not schema.description and description.task.kind == "none":
        raise DataError(
            f"the run has no description of {schema.dataset} by which files are labelled: prepare a partition"
        )
    with _prepare_temporarily(description, data, progress) as prepared:
        yield prepared


def _find_partition(data: Path, settings: SiteSettings) -> SitePartition | None:
    """Return the partition at `data`, if there is one; DataError when there are settings as well."""
    if not detect_partition(data):
        return None
    if settings.are_stated:
        raise DataError(f"{data} is a partition, which --map and --local do not change: leave them out")
    return SitePartition(data, [], [])


@contextmanager
def _prepare_temporarily(
    description: Description, source: Path, progress: ProgressCallback
) -> Iterator[SitePartition]:
    """Yield a partition of the files of a description, which is removed when the block ends."""
    from data_partitions.sources.described.reader import DescribedDataset

    reader, log = DescribedDataset(description), PreparationLog(progress=progress)
    with temporary_directory(temporary_path(scratch_path("condi-site"))) as temporary:
        index = reader.index(source, log)
        manifest = Manifest(
            site=TEMPORARY_SITE,
            made_by="",
            windows=count_windows(index),
            **reader.schema(source),
        )
        path = temporary / TEMPORARY_SITE
        write_partition(path, manifest, index, reader.read(source, index, log))
        yield SitePartition(path, log.rejected, [*log.notes, *log.counted()])
