"""Who takes part: every site is asked what it has, and all must agree on one schema."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Collection
from dataclasses import dataclass, field

import numpy as np
from flwr.app import ConfigRecord, Message, RecordDict
from flwr.serverapp import Grid

from condi_core.config import RunConfig
from condi_core.protocol import fingerprint
from condi_core.windows import Schema
from data_partitions.federation import check_same_schema
from data_partitions.manifest import Manifest
from server_app.errors import RunError, sentence

POLL = 3.0  # seconds between looks for nodes that have come online


@dataclass(frozen=True)
class SiteInfo:
    """What a site has said of itself."""

    node_id: int
    manifest: Manifest
    labels: dict[str, list[float] | None]  # windows per label, per split; None: withheld
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


def gather(
    grid: Grid, config: RunConfig, demo: Callable[[], str], expected: Collection[str] = ()
) -> tuple[Roster, str]:
    """Ask every node what it has; return the roster and the federation's path.

    Waits for `min-sites` and until no more come, and for the `expected` sites of a run to go on with.
    `demo` makes the demo federation, when virtual nodes were given none. Raises RunError when too few
    sites come in time, or when they do not fit together.
    """
    deadline, federation = time.monotonic() + config.sites_timeout, config.federation
    asked: list[int] = []
    found = _Answers()
    while True:
        nodes, over = sorted(grid.get_node_ids()), time.monotonic() > deadline
        if nodes and nodes != asked:
            found, asked = _describe(grid, nodes, federation, config.round_timeout), nodes
            if found.wants_federation:
                federation, asked = demo(), []
                continue
            if found.problems:
                raise RunError("the federation cannot start: " + "; ".join(found.problems))
            settled = found.virtual  # a simulation has all its nodes from the start
        else:
            settled = True  # nobody has come since the last look
        names = {name for name, _ in found.sites}
        if len(found.sites) >= config.min_sites and names.issuperset(expected) and (settled or over):
            return _agree(found.sites), federation
        if over and len(found.sites) >= config.min_sites:
            return _agree(found.sites), federation  # whoever is missed is named when rosters are compared
        if over:
            raise RunError(
                f"expected at least {config.min_sites} sites within {config.sites_timeout:g} s, "
                f"{len(found.sites)} came: start more sites or lower min-sites"
            )
        print(f"waiting for sites: {len(found.sites)} so far", flush=True)
        time.sleep(min(POLL, config.sites_timeout))


@dataclass
class _Answers:
    """What all nodes have said."""

    sites: list[tuple[str, SiteInfo]] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)
    wants_federation: bool = False
    virtual: bool = False


def _describe(grid: Grid, nodes: list[int], federation: str, timeout: float) -> _Answers:
    settings = {"fingerprint": fingerprint(), "federation": federation}
    messages = [
        Message(RecordDict({"config": ConfigRecord(settings)}), node, "query.describe") for node in nodes
    ]
    found, silent = _Answers(), set(nodes)
    for reply in grid.send_and_receive(messages, timeout=timeout):
        node = reply.metadata.src_node_id
        silent.discard(node)
        if reply.has_error():
            found.problems.append(f"node {node}: {sentence(reply.error.reason)}")
            continue
        answer = reply.content["config"]
        found.wants_federation |= bool(answer["wants-federation"])
        found.virtual |= bool(answer["virtual"])
        for text in answer["sites"]:
            site = json.loads(text)
            manifest = Manifest.model_validate({**site["manifest"], "made_by": ""})
            info = SiteInfo(node, manifest, site["labels"], np.array(site["sums"]))
            found.sites.append((site["name"], info))
    found.problems += [f"node {node} did not answer within {timeout:g} s" for node in sorted(silent)]
    return found


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
        if withheld := [split for split, counts in site.labels.items() if counts is None]:
            print(f"note: site {name} has withheld its label counts in {', '.join(withheld)}", flush=True)
        if site.labels["train"] is None:
            continue
        present = [label for label, n in zip(roster.schema.labels, site.labels["train"], strict=True) if n]
        if len(present) < 2 <= len(roster.schema.labels):
            print(
                f"note: site {name} has only {present[0] if present else 'no label'} in training", flush=True
            )
    return roster
