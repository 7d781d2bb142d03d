"""The federations of a study, each prepared once, in the study's own folder."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable, Mapping
from importlib import import_module
from pathlib import Path

from data_partitions import DataError
from data_partitions.federation import Federation, open_federation
from data_partitions.prepare import prepare_federation
from server_app.study.design import Scenario, SplitSpec, Study, StudyError


def slug(text: str) -> str:
    """A text as part of a folder's name."""
    return re.sub(r"[^A-Za-z0-9.]+", "-", text).strip("-")


def digest(*parts: object) -> str:
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()[:8]


def federation_name(study: Study, scenario: Scenario, seed: int) -> str:
    """Name of the federation's folder: what it is made of, wherever its source lies."""
    data, partition = study.data[scenario.data], scenario.partition
    drawn = partition.drawn_by(seed)
    made_of = digest(data.dataset, data.options, partition.model_dump(exclude={"seed"}), drawn)
    return f"{slug(scenario.data)}-{slug(partition.label)}-s{drawn}-{made_of}"


class Federations:
    """Prepares and opens federations below `folder`; `sources` has the folder of each data set."""

    def __init__(
        self, study: Study, folder: Path, sources: Mapping[str, Path], say: Callable[[str], None] = print
    ) -> None:
        self.study, self.folder, self.sources, self.say = study, folder, sources, say

    def path(self, scenario: Scenario, seed: int) -> Path:
        """Where the scenario's federation under a seed is or will be."""
        return self.folder / "federations" / federation_name(self.study, scenario, seed)

    def check(self) -> None:
        """StudyError when the source of what is still to be prepared is not there, before hours of runs."""
        lacking = {
            s.data for s in self.study.scenarios for n in self.study.seeds if not self.path(s, n).exists()
        }
        for name in sorted(lacking):
            if self.study.data[name].dataset == "demo":  # which is made
                continue
            if (source := self.sources.get(name)) is None:
                hint = f"write source = ... or --source {name}=FOLDER"
                raise StudyError(f"data {name}: no source is given: {hint}")
            if not source.is_dir():
                raise StudyError(f"data {name}: there is no folder {source}: correct source or --source")

    def open(self, scenario: Scenario, seed: int) -> Federation:
        """The scenario's federation under a seed; made unless it is there. StudyError in one sentence."""
        path = self.path(scenario, seed)
        try:
            if not path.exists():
                self._prepare(scenario.data, scenario.partition, scenario.partition.drawn_by(seed), path)
            return open_federation(path)
        except (DataError, OSError) as error:
            raise StudyError(f"data {scenario.data}, {scenario.partition.label}: {error}") from None

    def _prepare(self, name: str, partition: SplitSpec, seed: int, path: Path) -> None:
        data = self.study.data[name]
        reader = import_module(f"data_partitions.sources.{data.dataset.replace('-', '_')}")
        source = self.sources.get(name)
        if data.dataset == "demo":
            source = self.folder / "sources" / "demo"
            if not source.exists():
                self.say("making the records of the demo")
                source.parent.mkdir(parents=True, exist_ok=True)
                reader.make(source)
        self.say(f"preparing {path.name}")
        modalities = partition.modalities
        if isinstance(modalities, str) and modalities != "all":
            modalities = tuple(part.strip() for part in modalities.split(","))
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            prepare_federation(
                reader, source, path, sites=partition.sites, split=partition.split, alpha=partition.alpha,
                seed=seed, modalities=modalities, **data.options,
            )  # fmt: skip
        except TypeError as error:
            if not data.options:
                raise
            raise DataError(f"an option that {data.dataset} does not take: {error}") from None


def sources_of(study: Study, base: Path, given: Mapping[str, Path]) -> dict[str, Path]:
    """Folder of each data set: as `given`, or as written, relative to `base`; StudyError for other names."""
    if unknown := sorted(given.keys() - study.data.keys()):
        raise StudyError(f"the study has no data '{unknown[0]}': it has {', '.join(study.data)}")
    written = {name: base / Path(d.source).expanduser() for name, d in study.data.items() if d.source}
    return {**written, **given}


def steps_of_epochs(epochs: float, federation: Federation, batch: int) -> int:
    """Local steps in which a site of mean size sees its training windows `epochs` times; at least one.

    All sites do the same number, so that a budget is one number for all of them and for all methods.
    """
    trained = [federation.open_site(name, check=False).manifest.windows["train"] for name in federation.sites]
    return max(1, round(epochs * sum(trained) / len(trained) / batch))
