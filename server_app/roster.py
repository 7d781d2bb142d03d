"""Who takes part: every site is asked what it has, and all must agree on one schema."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from flwr.app import ConfigRecord, Message, RecordDict
from flwr.serverapp import Grid

from condi_core.config import RunConfig
from condi_core.fingerprint import fingerprint
from condi_core.windows import Schema
from data_partitions.federation import check_same_schema
from data_partitions.manifest import Manifest
from server_app.errors import RunError

POLL = 3.0  # seconds between looks for nodes that have come online


@dataclass(frozen=True)
class SiteInfo:
    """What a site has said of itself."""

    node_id: int
    manifest: Manifest
    labels: dict[str, list[float]]  # windows per label, per split
    sums: np.ndarray  # (modality, 3): count, sum and sum of squares of the training samples


@dataclass(frozen=True)
class Roster:
    """The sites of a run by name, in the order in which everything is added up."""

    sites: dict[str, SiteInfo]

    @property
    def schema(self) -> Schema:
        return Schema.model_validate(next(iter(self.sites.values())).manifest.schema())

    @property
    def sums(self) -> np.ndarray:
        return sum(site.sums for site in self.sites.values())

    def site_of(self, reply: Message) -> str:
        """Name of the site that a reply is from (a virtual node may stand for several sites)."""
        if reply.metadata.group_id in self.sites:
            return reply.metadata.group_id
        names = [n for n, s in self.sites.items() if s.node_id == reply.metadata.src_node_id]
        return names[0] if len(names) == 1 else f"node {reply.metadata.src_node_id}"

    def to_json(self) -> dict:
        return {
            name: {
                "manifest": s.manifest.model_dump(mode="json"),
                "labels": s.labels,
                "sums": s.sums.tolist(),
            }
            for name, s in self.sites.items()
        }

    def check_unchanged(self, before: dict) -> None:
        """RunError when the run to go on with was begun by other sites, or by the same with other data."""
        now = json.loads(json.dumps(self.to_json()))
        if gone := sorted(before.keys() - now.keys()):
            raise RunError(f"{', '.join(gone)} took part before and is absent now: start it, then go on")
        if new := sorted(name for name in now if now[name] != before.get(name)):
            raise RunError(f"{', '.join(new)} has other data than when the run began: start a new run")

    def lines(self) -> list[str]:
        """A table of who takes part."""
        schema = self.schema
        width = max(map(len, self.sites))
        out = [f"{'site':<{width}}  {'train':>5} {'val':>5} {'test':>5}  modalities"]
        for name, site in self.sites.items():
            lacking = [m.name for m in site.manifest.modalities if not m.present]
            has = f"{len(schema.names) - len(lacking)} of {len(schema.names)}"
            has += f", without {' '.join(lacking)}" if lacking else ""
            w = site.manifest.windows
            out.append(f"{name:<{width}}  {w['train']:>5} {w['val']:>5} {w['test']:>5}  {has}")
        return out


def gather(grid: Grid, config: RunConfig, demo: Callable[[], str]) -> tuple[Roster, str]:
    """Ask every node what it has, waiting for `min-sites`; return the roster and the federation's path.

    `demo` makes the demo federation, when virtual nodes were given none. Raises RunError when too few
    sites come in time, or when they do not fit together.
    """
    deadline, federation, asked = time.monotonic() + config.sites_timeout, config.federation, 0
    said = False
    while True:
        nodes = sorted(grid.get_node_ids())
        if nodes and len(nodes) != asked:
            sites, wants, problems = _describe(grid, nodes, federation, config.round_timeout)
            if wants:
                federation = demo()
                continue
            if problems:
                raise RunError("the federation cannot start: " + "; ".join(problems))
            if len(sites) >= config.min_sites:
                return _agree(sites), federation
            asked = len(nodes)
        if time.monotonic() > deadline:
            raise RunError(
                f"expected at least {config.min_sites} sites within {config.sites_timeout:g} s, "
                f"{len(sites) if nodes else 0} came: start more sites or lower min-sites"
            )
        if not said:
            print(f"waiting for at least {config.min_sites} sites", flush=True)
            said = True
        time.sleep(min(POLL, config.sites_timeout))


def _describe(
    grid: Grid, nodes: list[int], federation: str, timeout: float
) -> tuple[list[tuple[str, SiteInfo]], bool, list[str]]:
    settings = {"fingerprint": fingerprint(), "federation": federation}
    messages = [
        Message(RecordDict({"config": ConfigRecord(settings)}), node, "query.describe") for node in nodes
    ]
    sites, wants, problems = [], False, []
    for reply in grid.send_and_receive(messages, timeout=timeout):
        if reply.has_error():
            problems.append(reply.error.reason)
            continue
        answer = reply.content["config"]
        wants = wants or answer["wants-federation"]
        for text in answer["sites"]:
            site = json.loads(text)
            manifest = Manifest.model_validate({**site["manifest"], "made_by": ""})
            info = SiteInfo(reply.metadata.src_node_id, manifest, site["labels"], np.array(site["sums"]))
            sites.append((site["name"], info))
    return sites, wants, sorted(set(problems))


def _agree(sites: list[tuple[str, SiteInfo]]) -> Roster:
    """The roster of sites that fit together; RunError names those that do not, and why."""
    sites = sorted(sites, key=lambda site: site[0])
    names = [name for name, _ in sites]
    problems = [f"two sites are called {name}" for name in sorted({n for n in names if names.count(n) > 1})]
    problems += check_same_schema([site.manifest for _, site in sites])
    for name, site in sites:
        if not site.manifest.windows["train"]:
            problems.append(f"site {name} has no training windows: leave it out or prepare it anew")
        elif not site.sums[:, 0].sum():
            problems.append(f"site {name} has no observed sample in its training windows: leave it out")
    if problems:
        raise RunError("the federation cannot start: " + "; ".join(problems))
    roster = Roster(dict(sites))
    nowhere = [n for n, count in zip(roster.schema.names, roster.sums[:, 0], strict=True) if not count]
    if nowhere:
        raise RunError(
            f"no site has an observed training sample of {', '.join(nowhere)}: prepare the federation without"
        )
    for name, site in sites:
        present = [label for label, n in zip(roster.schema.labels, site.labels["train"], strict=True) if n]
        if len(present) < 2 <= len(roster.schema.labels):
            print(
                f"note: site {name} has only {present[0] if present else 'no label'} in training", flush=True
            )
    return roster
