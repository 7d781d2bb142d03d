"""A site's data as the commands on a trained run read them: a partition, or native files."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from client_app.inference.recording_reader import ReadingOptions, RecordingReader
from client_app.inference.site_description import describe_site, file_options, specs_of_model
from client_app.inference.suitability import usual_samples
from condi_core.model import TrainedRun
from condi_core.windows import Schema
from data_partitions import DataError
from data_partitions.description.sections import Description, SplitSection, TaskSection
from data_partitions.layout import detect_partition
from data_partitions.manifest import Manifest
from data_partitions.partition import write_partition
from data_partitions.preparation_log import PreparationLog, ProgressCallback
from data_partitions.windows_table import count_windows

TEMPORARY_SITE = "site"
TABLE_FORMATS = ("csv", "parquet", "meds")


class SitePartition(NamedTuple):
    """A partition.

    Attributes
    ----------
    path : its directory
    skipped : why files that it was made from could not be used
    notes : what was unusual in them
    """

    path: Path
    skipped: list[str]
    notes: list[str]


@contextmanager
def open_site_data(
    run: Path,
    model: TrainedRun,
    data: Path,
    local: Path | None,
    options: ReadingOptions,
    progress: ProgressCallback,
) -> Iterator[SitePartition | RecordingReader]:
    """Yield a partition, or a reader of native files.

    Tables over time that a site describes are read into a partition that exists as long as the block runs.

    Parameters
    ----------
    run : Path
        Folder of the run.
    model : TrainedRun
    data : Path
        A partition, a file, or a folder of files.
    local : Path or None
        File with the settings of the site, see `describe_site`.
    options : ReadingOptions
    progress : callable

    Raises
    ------
    DataError
        The data or the settings cannot be used.
    """
    if detect_partition(data):
        if local is not None:
            raise DataError(f"{data} is a partition, which --local does not change: leave it out")
        yield SitePartition(data, [], [])
        return
    description = describe_site(model.schema, local)
    if _describes_tables(description):
        unlabelled = description.model_copy(update={"task": TaskSection(), "split": SplitSection()})
        with prepare_temporarily(unlabelled, data, progress) as partition:
            yield partition
        return
    yield RecordingReader(
        model.schema,
        specs_of_model(model.schema, description),
        usual_samples(run, model.schema),
        file_options(description),
        options,
        states_names=local is not None,
        stride=window_stride(model.schema, description),
    )


def window_stride(schema: Schema, description: Description) -> int:
    """Return the patches from the start of a window to that of the next, in predictions."""
    stride = description.window.stride if description.window.align == "recording" else None
    return round(stride / schema.patch_seconds) if stride else schema.patches


def _describes_tables(description: Description) -> bool:
    """Whether a site has stated that its values are in tables over time."""
    files = description.files
    return files.format in TABLE_FORMATS and bool(files.time or files.format == "meds")


@contextmanager
def prepare_temporarily(
    description: Description, source: Path, progress: ProgressCallback
) -> Iterator[SitePartition]:
    """Yield a partition of the files of a description, which is removed when the block ends.

    Raises
    ------
    DataError
        The files cannot be used.
    """
    from data_partitions.sources.described.reader import DescribedDataset

    reader, log = DescribedDataset(description), PreparationLog(progress=progress)
    with tempfile.TemporaryDirectory(prefix="condi-") as temporary:
        index = reader.index(source, log)
        manifest = Manifest(
            site=TEMPORARY_SITE,
            made_by="",
            windows=count_windows(index),
            **reader.schema(source),
        )
        path = Path(temporary) / TEMPORARY_SITE
        write_partition(path, manifest, index, reader.read(source, index, log))
        yield SitePartition(path, log.rejected, log.notes)
