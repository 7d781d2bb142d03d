"""Who takes part: every site is asked what it has, and all must agree on one schema.

A hospital's node that cannot take part (other data, other code, no answer) is left out and told so; the
others go on without it as long as they are enough. In a simulation all sites were prepared together, and
one that does not fit stops the run.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Collection
from dataclasses import dataclass, field

import numpy as np
from flwr.app import ConfigRecord, Message, RecordDict
from flwr.common.constant import SUPERLINK_NODE_ID
from flwr.serverapp import Grid

from condi_core.config import RunConfig
from condi_core.protocol import POOLED_SITE, fingerprint
from condi_core.windows import Schema
from data_partitions.federation import check_same_schema
from data_partitions.manifest import SPLITS
from data_partitions.pool import pooled_manifest
from data_partitions.table import Table, Value
from server_app.artifacts.site_info import SiteInfo
from server_app.errors import RunError, last_line, without_control_characters
from server_app.federation.messaging import POLL_SECONDS, send_and_receive

MIN_DESCRIBE_SECONDS = 60.0  # seconds a site has to say what it has
RETRY_SECONDS = 30.0  # seconds after which a node that could not take part is asked once more


@dataclass(frozen=True)
class Roster:
    """The sites of a run by name, in the order in which everything is added up."""

    sites: dict[str, SiteInfo]
    left_out: dict[str, str] = field(default_factory=dict)  # who cannot take part, and why
    virtual: bool = False  # all of them in one simulation

    @property
    def schema(self) -> Schema:
        return Schema.model_validate(next(iter(self.sites.values())).manifest.schema())

    @property
    def sums(self) -> np.ndarray:
        return sum(site.sums for site in self.sites.values())

    def site_of(self, reply: Message) -> str:
        """Name of the site that a reply is from (a virtual node may stand for several sites)."""
        if reply.metadata.src_node_id == SUPERLINK_NODE_ID and reply.has_error():
            return reply.metadata.group_id or "a node"  # the SuperLink says so of a node that is gone
        names = [n for n, s in self.sites.items() if s.node_id == reply.metadata.src_node_id]
        if reply.metadata.group_id in names:
            return reply.metadata.group_id
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
        """A table of who takes part, and who does not."""
        schema = self.schema
        rows: list[list[Value]] = []
        notes = []
        for name, site in self.sites.items():
            lacking = [m.name for m in site.manifest.modalities if not m.present]
            has = f"{len(schema.names) - len(lacking)} of {len(schema.names)}"
            has += f", without {' '.join(lacking)}" if lacking else ""
            rows.append([name, *(site.manifest.windows[split] for split in SPLITS), has])
            if withheld := [split for split, counts in site.labels.items() if counts is None]:
                notes.append(f"note: site {name} has withheld its label counts in {', '.join(withheld)}")
            counts = site.labels["train"] or np.ones(len(schema.labels))
            present = [label for label, n in zip(schema.labels, counts, strict=True) if n]
            if len(present) < 2 <= len(schema.labels):
                notes.append(
                    f"note: site {name} has only {present[0] if present else 'no label'} in training"
                )
        table = Table("", ["site", *SPLITS, "modalities"], rows).to_text(width=None)
        return [*table.splitlines(), *notes] + [
            f"left out: {name}: {why}" for name, why in self.left_out.items()
        ]


def pooled(roster: Roster) -> Roster:
    """All sites of a simulation as one, for which the first one's node answers."""
    node = next(iter(roster.sites.values())).node_id
    manifest = pooled_manifest([site.manifest for site in roster.sites.values()], POOLED_SITE)
    return Roster(
        {POOLED_SITE: SiteInfo(node, manifest, dict.fromkeys(SPLITS), roster.sums)}, {}, roster.virtual
    )


def collect_roster(
    grid: Grid, config: RunConfig, demo: Callable[[], str], expected: Collection[str] = ()
) -> tuple[Roster, str]:
    """Ask every node what it has; return the roster and the federation's path.

    Waits for `min-sites` and until no more come, and for all sites that `sites` names, or that are
    `expected` by a run to go on with; then these alone take part. `demo` makes the demo federation, when
    virtual nodes were given none. Raises RunError when too few sites come in time, or do not fit together.
    """
    named = set(expected) or set(config.named_sites)
    call = _RollCall(grid, config, named)
    deadline = time.monotonic() + config.sites_timeout
    while True:
        news, over = call.ask(), time.monotonic() > deadline
        if call.wants_federation:
            call = _RollCall(grid, config, named, demo())
            continue
        roster = _compatible_sites(call)
        enough = len(roster.sites) >= config.min_sites
        missed = sorted(named - roster.sites.keys())
        settled = call.virtual or not news  # a simulation has all its nodes from the start
        if enough and not missed and (settled or over):
            break
        if missed and call.virtual:
            raise RunError(
                f"the federation has no site {', '.join(missed)}: it has {', '.join(sorted(call.names))}"
            )
        if over:
            raise RunError(_too_few(config, roster, missed))
        lacking = f", still without {', '.join(missed)}" if missed else ""
        print(f"waiting for sites: {len(roster.sites)} so far{lacking}", flush=True)
        time.sleep(min(POLL_SECONDS, config.sites_timeout))
    nowhere = [n for n, count in zip(roster.schema.names, roster.sums[:, 0], strict=True) if not count]
    if nowhere:
        raise RunError(
            f"no site has an observed training sample of {', '.join(nowhere)}: prepare the federation without"
        )
    call.tell(roster)
    return roster, call.federation


class _RollCall:
    """What the nodes have said so far; `problems` has a sentence for those that cannot take part."""

    def __init__(self, grid: Grid, config: RunConfig, named: set[str], federation: str = "") -> None:
        self.grid, self.named = grid, named
        self.timeout = min(config.round_timeout, max(config.sites_timeout, MIN_DESCRIBE_SECONDS))
        self.federation = federation or config.federation
        self.names: set[str] = set()  # of all sites that have answered
        self.found: dict[str, SiteInfo] = {}  # those that the run is to have
        self.problems: dict[str, str] = {}
        self.nodes: dict[str, int] = {}  # of those with problems
        self.wants_federation = self.virtual = False
        self._asked: dict[int, float] = {}  # when; infinity: it has answered well

    def ask(self) -> bool:
        """Ask the nodes that have come since; True if there were any."""
        now, names = time.monotonic(), names_of(self.grid)
        online = [n for n, name in names.items() if not (name and self.named) or name in self.named]
        nodes = sorted(n for n in online if now > self._asked.get(n, -RETRY_SECONDS) + RETRY_SECONDS)
        settings = {"fingerprint": fingerprint(), "federation": self.federation}
        content = RecordDict({"config": ConfigRecord(settings)})
        messages = [Message(content, node, "query.describe") for node in nodes]
        replies = send_and_receive(self.grid, messages, self.timeout) if nodes else []
        answers = {reply.metadata.src_node_id: reply for reply in replies}
        for node in nodes:
            known = without_control_characters(names[node]) or f"node {node}"
            self.problems.pop(known, None)
            self._asked[node] = now
            try:
                if any(names.values()) and not names[node]:
                    raise ValueError("it is registered without a name: register it by that of its partition")
                self._take(node, names[node], answers.get(node))
                self._asked[node] = np.inf
            except ValueError as error:
                self.problems[known], self.nodes[known] = str(error), node
        return bool(nodes)

    def _take(self, node: int, name: str, reply: Message | None) -> None:
        """Note down the sites of a node; ValueError with what is wrong with its answer."""
        if reply is None:
            raise ValueError(f"it did not answer within {self.timeout:g} s")
        if reply.has_error():
            raise ValueError(last_line(reply.error.reason))
        try:
            answer = reply.content["config"]
            sites = [json.loads(text) for text in answer["sites"]]
            if not name:  # a hospital does not say that all of this is a simulation
                self.wants_federation |= bool(answer["wants-federation"])
                self.virtual |= bool(answer["virtual"])
            sites = {site["name"]: SiteInfo.read(node, site) for site in sites}
        except (KeyError, TypeError, RecursionError, json.JSONDecodeError):
            raise ValueError("its answer cannot be read") from None
        for own in sites:
            if name and own != name:
                raise ValueError(
                    f"it is registered as {without_control_characters(name)}, but its partition is that of {own}"
                )
            if own in self.found and self.found[own].node_id != node:
                raise RunError(f"the federation cannot start: two sites are called {own}")
        self.names |= sites.keys()
        self.found |= {own: info for own, info in sites.items() if not self.named or own in self.named}

    def tell(self, roster: Roster) -> None:
        """Let the nodes that are left out say so in their own logs."""
        nodes = {name: site.node_id for name, site in self.found.items()} | self.nodes
        messages = [
            Message(RecordDict({"config": ConfigRecord({"why": why})}), nodes[name], "query.left_out")
            for name, why in roster.left_out.items()
        ]
        if messages:
            self.grid.push_messages(messages)


def names_of(grid: Grid) -> dict[int, str]:
    """Nodes that are online, with the names under which they were registered (virtual nodes have none)."""
    return {node.node_id: node.name for node in grid.get_nodes()}


def _compatible_sites(call: _RollCall) -> Roster:
    """The roster of sites that fit together; in a simulation RunError names those that do not, and why."""
    sites = dict(sorted(call.found.items()))
    problems = {name: [why] for name, why in call.problems.items()}
    for name, site in sites.items():
        if not site.manifest.windows["train"]:
            problems.setdefault(name, []).append("it has no training windows: prepare it anew")
        elif not site.sums[:, 0].sum():
            problems.setdefault(name, []).append("it has no observed sample in its training windows")
    for name, difference in check_same_schema([site.manifest for site in sites.values()]).items():
        problems.setdefault(name, []).append(difference)
    left_out = {name: "; ".join(why) for name, why in problems.items()}
    if left_out and call.virtual:
        told = "; ".join(f"site {name}: {why}" for name, why in left_out.items())
        raise RunError(f"the federation cannot start: {told}")
    good = {name: site for name, site in sites.items() if name not in left_out}
    return Roster(good, left_out, call.virtual)


def _too_few(config: RunConfig, roster: Roster, missed: list[str]) -> str:
    within = f"within {config.sites_timeout:g} s"
    if missed:
        text = f"{', '.join(missed)} did not come {within}: start it"
    else:
        text = (
            f"expected at least {config.min_sites} sites {within}, {len(roster.sites)} came: "
            "start more sites or lower min-sites"
        )
    return text + "".join(f"; left out: {name}: {why}" for name, why in roster.left_out.items())
