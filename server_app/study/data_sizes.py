"""The schema and the number of windows of each site of a study's data, prepared or not."""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple

import numpy as np

from condi_core.windows import WINDOWS_PER_BLOCK, Schema
from data_partitions import DataError
from data_partitions.assignment import assign_patients
from data_partitions.federation import open_federation
from data_partitions.manifest import SPLITS, Manifest
from data_partitions.preparation_log import PreparationLog
from data_partitions.sources.demo.dataset import PATIENTS, write_source
from server_app.study.design import Scenario
from server_app.study.errors import StudyError
from server_app.study.factors import AsPrepared, DatasetSpec, SplitSpec
from server_app.study.federations import Federations, data_reader
from server_app.study.timing import ArrayWindows
from server_app.study.workload import SiteWindows

DEMO_SAMPLE = 56  # patients of the demo that are generated to count its windows


class DataSizes(NamedTuple):
    """What the time of a run depends on.

    Attributes
    ----------
    schema : of the windows
    sites : numbers of windows of each site
    sample : values and what was measured of some windows, both (window, modality, patch, sample); None where
        reading a few takes as long as reading all
    """

    schema: Schema
    sites: list[SiteWindows]
    sample: ArrayWindows | None


def measure_data(federations: Federations, scenario: Scenario, seed: int) -> DataSizes:
    """Count the windows of a scenario's sites; those that are not prepared are counted in the source's index.

    Raises
    ------
    StudyError
        When the data cannot be read.
    """
    path = federations.path(scenario, seed)
    data, partition = federations.study.data[scenario.data], scenario.partition
    try:
        if path.exists() or isinstance(partition, AsPrepared):
            return _measure_federation(path)
        split_seed = partition.seed_under(seed)
        if data.dataset != "demo":
            return _measure_source(data, partition, split_seed, federations.sources[scenario.data])
        with TemporaryDirectory() as folder:
            write_source(Path(folder) / "demo", patients=DEMO_SAMPLE)
            sizes = _measure_source(data, partition, split_seed, Path(folder) / "demo", smallest_site=0)
    except (DataError, OSError) as error:
        raise StudyError(f"data {scenario.data}, {partition.label}: {error}") from None
    larger = [
        SiteWindows(*(round(PATIENTS / DEMO_SAMPLE * number) for number in site)) for site in sizes.sites
    ]
    return sizes._replace(sites=larger)


def _measure_federation(path: Path) -> DataSizes:
    federation = open_federation(path)
    manifests = [federation.open_site(name, check=False).manifest for name in federation.sites]
    sites = [SiteWindows(*(manifest.windows[split] for split in SPLITS)) for manifest in manifests]
    largest = federation.open_site(max(range(len(sites)), key=lambda i: sites[i].train), check=False)
    sample = largest.read(_spread(largest.rows("train")))
    return DataSizes(Schema.model_validate(manifests[0].schema_fields()), sites, sample)


def _measure_source(
    data: DatasetSpec, partition: SplitSpec, seed: int, source: Path, **assignment: Any
) -> DataSizes:
    reader, log, options = data_reader(data), PreparationLog(), dict(data.options)
    fields = reader.schema(source, **options)
    index = reader.index(source, log, **options)
    sites = assign_patients(
        index, partition.sites, partition.split, seed, partition.alpha,
        labels=list(fields["labels"]), task=fields["task"], **assignment,
    )  # fmt: skip
    counts = index.groupby([index["patient_id"].map(sites), "split"]).size().unstack(fill_value=0)
    windows = [SiteWindows(*(int(row.get(split, 0)) for split in SPLITS)) for _, row in counts.iterrows()]
    manifest = Manifest(**fields, site="any", windows=dict.fromkeys(SPLITS, 0), made_by="")
    sample = None
    if not hasattr(reader, "pass_key"):  # others read all files before the first window
        rows = index.iloc[_spread(np.flatnonzero(index["split"] == "train"))]
        arrays = [window for window in reader.read(source, rows, log, **options) if window is not None]
        if arrays:
            values = np.stack(arrays)
            sample = np.nan_to_num(values), ~np.isnan(values)
    return DataSizes(Schema.model_validate(manifest.schema_fields()), windows, sample)


def _spread(rows: np.ndarray) -> np.ndarray:
    """Return as many rows as a block has, spread over all."""
    return rows[np.linspace(0, len(rows) - 1, min(len(rows), WINDOWS_PER_BLOCK)).astype(int)]
