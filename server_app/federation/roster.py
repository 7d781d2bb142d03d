"""The sites of a run: what they have reported about themselves, and what the run says about them."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace

import numpy as np
from flwr.app import Message
from flwr.common.constant import SUPERLINK_NODE_ID

from condi_core.windows import Schema
from data_partitions.manifest import SPLITS
from data_partitions.table import Cell, Table, Value
from server_app.artifacts.site_info import SiteInfo
from server_app.errors import NEW_RUN_HINT, RunError
from server_app.federation.standardising_sums import combine_sums

MAX_LISTED_SITES = 5  # of which the same is said in lines of their own


@dataclass(frozen=True)
class Roster:
    """The sites of a run by name, in the order in which everything is added up.

    Parameters
    ----------
    sites : dict of str to SiteInfo
        Sites that take part.
    excluded : dict of str to str
        Sites and nodes that cannot take part, and why.
    virtual : bool
        Whether all sites are in one simulation.
    """

    sites: dict[str, SiteInfo]
    excluded: dict[str, str] = field(default_factory=dict)
    virtual: bool = False

    @property
    def schema(self) -> Schema:
        return Schema.model_validate(next(iter(self.sites.values())).manifest.schema_fields())

    @property
    def sums(self) -> np.ndarray:
        """Standardising sums of all sites `(modality, 3)`; see `combine_sums`."""
        return combine_sums(site.sums for site in self.sites.values())

    @property
    def label_sums(self) -> np.ndarray:
        """Standardising sums of the labels of a regression `(label, 3)`; without rows in other runs."""
        return combine_sums(site.label_sums for site in self.sites.values())

    @property
    def covariate_sums(self) -> np.ndarray:
        """Standardising sums of covariates that are inputs `(covariate, 3)`; without rows in other runs."""
        return combine_sums(site.covariate_sums for site in self.sites.values())

    def labelled_sites(self) -> Roster:
        """Return the sites with labels for training, those of phase 2, with labelled windows alone."""
        sites = {
            name: replace(site, manifest=site.manifest.model_copy(update={"windows": site.labelled}))
            for name, site in self.sites.items()
            if site.labelled["train"]
        }
        return Roster(sites, self.excluded, self.virtual)

    def site_of(self, reply: Message) -> str:
        """Return the name of the site that a reply is from; a virtual node may stand for several sites."""
        node, site = reply.metadata.src_node_id, reply.metadata.group_id
        if node == SUPERLINK_NODE_ID and reply.has_error():
            return site or "a node"  # the SuperLink reports a node that has disconnected
        names = [name for name, info in self.sites.items() if info.node_id == node]
        if site in names:
            return site
        return names[0] if len(names) == 1 else f"node {node}"

    def to_json(self) -> dict:
        """Return what roster.json holds."""
        return {name: site.to_json() for name, site in self.sites.items()}

    def resumed_from(self, before: Mapping[str, dict]) -> Roster:
        """Return the roster of the run to resume: sites that have left for good are in it, but never online.

        Their sums still standardise the data, and their windows still count where the run's first rounds had
        them. Sites that join are in it from now on; models that have been made keep their standardisation.

        Parameters
        ----------
        before : mapping of str to dict
            What roster.json holds.

        Raises
        ------
        RunError
            A site has other data than when the run started.
        """
        now = json.loads(json.dumps(self.to_json()))
        if changed := sorted(name for name in now if now[name] != before.get(name, now[name])):
            raise RunError(
                f"the data of {', '.join(changed)} differ from those with which the run started: "
                f"{NEW_RUN_HINT}"
            )
        missing = sorted(before.keys() - now.keys())
        if missing and self.virtual:
            raise RunError(
                f"{', '.join(missing)} took part when the run started, and in a simulation all sites are "
                "here: resume it without the setting sites"
            )
        # Flower's ids of nodes are random 64-bit numbers. It drops messages to others.
        absent = {
            name: SiteInfo.read(SUPERLINK_NODE_ID + number, {**before[name], "name": name})
            for number, name in enumerate(missing, start=1)
        }
        reasons = dict.fromkeys(missing, "it took part when the run started, and `sites` does not name it")
        sites = dict(sorted({**self.sites, **absent}.items()))
        return Roster(sites, {**self.excluded, **reasons}, self.virtual)

    def lines(self) -> list[str]:
        """Return a table of the sites that take part, and of those that are excluded."""
        schema = self.schema
        notes: dict[str, list[str]] = {}
        rows: list[list[Value]] = []
        for name, site in self.sites.items():
            missing = [m.name for m in site.manifest.modalities if not m.present]
            modalities = f"{len(schema.names) - len(missing)} of {len(schema.names)}"
            modalities += f", without {' '.join(missing)}" if missing else ""
            counts = (site.manifest.windows[split] for split in SPLITS)
            rows.append([name, *(Cell(str(count), count) for count in counts), modalities])
            if withheld := [split for split, counts in site.labels.items() if counts is None]:
                notes.setdefault(f"withholds its label counts in {', '.join(withheld)}", []).append(name)
            for note in (*_notes_on_windows(site), *_notes_on_labels(site, schema)):
                notes.setdefault(note, []).append(name)
        reasons: dict[str, list[str]] = {}
        for name, reason in self.excluded.items():
            reasons.setdefault(reason, []).append(name)
        table = Table("", ["site", *SPLITS, "modalities"], rows).to_text(width=None)
        lines = [table]
        for note, names in notes.items():
            lines += [f"note: {site} {note}" for site in _few_names(names, "site ", "each of ")]
        for reason, names in reasons.items():
            lines += [f"excluded: {site}: {reason}" for site in _few_names(names)]
        return lines


def _few_names(names: list[str], prefix: str = "", prefix_of_many: str = "") -> list[str]:
    """Return the names, or in place of many names one text with their number."""
    if len(names) <= MAX_LISTED_SITES:
        return [f"{prefix}{name}" for name in names]
    return [f"{prefix_of_many}{len(names)} sites, such as {names[0]},"]


def _notes_on_windows(site: SiteInfo) -> Iterator[str]:
    """Yield what a site without validation or test windows takes no part in, as ends of sentences."""
    if not site.manifest.windows["val"]:
        yield "has no validation windows: the others choose the weights"
    if not site.manifest.windows["test"]:
        yield "has no test windows: it is not scored"


def _notes_on_labels(site: SiteInfo, schema: Schema) -> Iterator[str]:
    """Yield what is missing among the labels of a site, as ends of sentences."""
    if not schema.labels:
        return
    labelled, total = site.labelled["train"], site.manifest.windows["train"]
    if not labelled:
        yield "has no labels for training: it takes part in phase 1 alone"
        return
    if labelled < total:
        yield f"has labels for {labelled} of {total} training windows: phase 2 uses these alone"
    if schema.task_kind.standardises_labels or not (counts := site.labels["train"]):
        return
    labels = [label for label, count in zip(schema.labels, counts, strict=True) if count]
    if len(labels) < 2 <= len(schema.labels):
        yield f"has {f'only the label {labels[0]}' if labels else 'no label'} in training"
    if len(schema.labels) == 1 and counts[0] in (0, labelled):
        yield f"has {'only' if labels else 'no'} windows with {schema.labels[0]} in training"
