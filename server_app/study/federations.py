"""Prepare the federations of a study, each once, in the study's folder."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import Any

from data_partitions import DataError
from data_partitions.description.reading import read_description
from data_partitions.description.sections import Description
from data_partitions.federation import Federation, open_federation
from data_partitions.layout import MANIFEST_FILE
from data_partitions.preparation_log import PreparationLog
from data_partitions.prepare import prepare_federation
from data_partitions.sources import DatasetReader
from data_partitions.sources.demo import write_source
from data_partitions.sources.described.reader import DescribedDataset
from server_app.study.design import Scenario, Study
from server_app.study.errors import StudyError
from server_app.study.factors import AsPrepared, DatasetSpec, SplitSpec


def short_hash(*parts: object) -> str:
    """Hash parts that JSON can write to eight hexadecimal digits."""
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()[:8]


def federation_name(study: Study, scenario: Scenario, seed: int) -> str:
    """Name a federation by what it is made of, wherever its source is.

    Raises
    ------
    StudyError
        The description or the federation that the study names cannot be read.
    """
    data, partition = study.data[scenario.data], scenario.partition
    try:
        if isinstance(partition, AsPrepared):
            return f"{_slug(scenario.data)}-{short_hash(_manifests(Path(data.federation)))}"
        contents: list[object] = [data.dataset, data.options]
        if data.file:
            contents = [_read_description(data.file, data.local).model_dump(mode="json")]
    except (DataError, OSError) as error:
        raise StudyError(f"data {scenario.data}: {error}") from None
    split_seed = partition.seed_under(seed)
    parts_hash = short_hash(*contents, partition.model_dump(exclude={"seed"}), split_seed)
    return f"{_slug(scenario.data)}-{_slug(partition.label)}-s{split_seed}-{parts_hash}"


@cache
def _read_description(file: str, local: str) -> Description:
    return read_description(file, local or None)


@cache
def _manifests(federation: Path) -> list[str]:
    sites = open_federation(federation).sites
    return [(federation / site / MANIFEST_FILE).read_text(encoding="utf-8") for site in sites]


def _slug(text: str) -> str:
    """Make a text part of a folder's name."""
    return re.sub(r"[^A-Za-z0-9.]+", "-", text).strip("-")


class Federations:
    """Prepares and opens the federations of a study.

    Parameters
    ----------
    study : the study
    folder : folder of the study
    sources : folder of each data set, by its name in the study
    report_progress : called with a line before a step that takes time
    """

    def __init__(
        self,
        study: Study,
        folder: Path,
        sources: Mapping[str, Path],
        report_progress: Callable[[str], None] = print,
    ) -> None:
        self.study = study
        self.folder = folder
        self.sources = sources
        self.report_progress = report_progress

    def path(self, scenario: Scenario, seed: int) -> Path:
        """Return the folder of a scenario's federation under a seed, prepared or not."""
        if isinstance(scenario.partition, AsPrepared):
            return Path(self.study.data[scenario.data].federation)
        return self.folder / "federations" / federation_name(self.study, scenario, seed)

    def require_sources(self) -> None:
        """Raise StudyError, before hours of runs, when a federation that is not prepared has no source."""
        if missing := self.missing():
            raise StudyError("; ".join(missing))

    def missing(self) -> list[str]:
        """Say for each data set that is not prepared what is missing to prepare it."""
        unprepared = {
            s.data for s in self.study.scenarios for n in self.study.seeds if not self.path(s, n).exists()
        }
        complaints = []
        for name in sorted(unprepared):
            source = self.sources.get(name)
            if federation := self.study.data[name].federation:
                complaints.append(f"data {name}: there is no folder {federation}: condi prepare writes one")
            elif self.study.data[name].dataset == "demo":  # the demo generates its source
                continue
            elif source is None:
                hint = f"write source = ... or --source {name}=FOLDER"
                complaints.append(f"data {name}: no source is given: {hint}")
            elif not source.is_dir():
                complaints.append(f"data {name}: there is no folder {source}: correct source or --source")
        return complaints

    def open(self, scenario: Scenario, seed: int) -> Federation:
        """Open a scenario's federation under a seed, which is prepared first if needed.

        Raises
        ------
        StudyError
            When the data cannot be used.
        """
        path = self.path(scenario, seed)
        try:
            if not path.exists() and not isinstance(scenario.partition, AsPrepared):
                self._prepare(scenario.data, scenario.partition, scenario.partition.seed_under(seed), path)
            return open_federation(path)
        except (DataError, OSError) as error:
            raise StudyError(f"data {scenario.data}, {scenario.partition.label}: {error}") from None

    def _prepare(self, name: str, partition: SplitSpec, seed: int, path: Path) -> None:
        data = self.study.data[name]
        reader = data_reader(data)
        if data.dataset == "demo":
            source = self.folder / "sources" / "demo"
            if not source.exists():
                self.report_progress("generating the records of the demo")
                source.parent.mkdir(parents=True, exist_ok=True)
                write_source(source)
        else:
            source = self.sources[name]
        self.report_progress(f"preparing {path.name}")
        modalities: int | str | tuple[str, ...] = partition.modalities
        if isinstance(modalities, str) and modalities != "all":
            modalities = tuple(part.strip() for part in modalities.split(","))
        path.parent.mkdir(parents=True, exist_ok=True)
        options: dict[str, Any] = data.options
        log = PreparationLog()
        try:
            prepare_federation(
                reader, source, path, sites=partition.sites, split=partition.split, alpha=partition.alpha,
                seed=seed, modalities=modalities, log=log, **options,
            )  # fmt: skip
        except TypeError as error:
            if not options:
                raise
            raise DataError(f"{data.dataset} does not take one of the options: {error}") from None
        if log.rejected:
            self.report_progress(f"  excluded: {len(log.rejected)} records, such as {log.rejected[0]}")


def data_reader(data: DatasetSpec) -> DatasetReader:
    """Return the reader of a data set that is not prepared."""
    if data.file:
        return DescribedDataset(_read_description(data.file, data.local))
    return import_module(f"data_partitions.sources.{str(data.dataset).replace('-', '_')}")


def source_folders(study: Study, overrides: Mapping[str, Path]) -> dict[str, Path]:
    """Return the folder of each data set that has one.

    Parameters
    ----------
    study : the study
    overrides : folders that replace those in the study, by the name of the data set

    Raises
    ------
    StudyError
        When `overrides` names data that the study does not have.
    """
    if unknown := sorted(overrides.keys() - study.data.keys()):
        raise StudyError(f"the study has no data '{unknown[0]}': it has {', '.join(study.data)}")
    return {name: Path(data.source) for name, data in study.data.items() if data.source} | dict(overrides)


def training_windows(federation: Federation) -> list[int]:
    """Return the number of training windows of each site."""
    return [federation.open_site(name, check=False).manifest.windows["train"] for name in federation.sites]


def steps_of_epochs(epochs: float, num_windows: Sequence[float], batch: int) -> int:
    """Convert local epochs to local steps, at least one.

    In so many steps a site of mean size sees its training windows `epochs` times. All sites do the same
    number of steps, so that the budget is the same for all sites and all methods.
    """
    return max(1, round(epochs * sum(num_windows) / len(num_windows) / batch))
