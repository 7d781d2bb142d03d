"""Ask the nodes of a run which sites they have, and which of these fit together.

A hospital's node that cannot take part (different data or code, or no answer) is excluded and receives the
reason; the others continue without it. In a simulation all sites were prepared together, and a site that does
not fit stops the run.
"""

from __future__ import annotations

import json
import math
import time

from flwr.app import ConfigRecord, Message, RecordDict
from flwr.serverapp import Grid

from condi_core.config import RunConfig
from condi_core.methods.packages import PACKAGES_KEY, list_packages
from condi_core.protocol import POLICY_REFUSED, fingerprint
from data_partitions.federation import check_same_schema
from data_partitions.manifest import Manifest
from server_app.artifacts.site_info import SiteInfo
from server_app.errors import RunError, last_line, printable
from server_app.federation.messaging import send_and_receive
from server_app.federation.roster import Roster

MIN_DESCRIBE_SECONDS = 60.0  # minimum time that a site has to describe itself
NO_TRAINING_WINDOWS = "it has no training windows: prepare it again"
RETRY_SECONDS = 30.0  # time after which a node that could not take part is asked again


class RollCall:
    """What the nodes have reported so far."""

    def __init__(self, grid: Grid, config: RunConfig, named: set[str], federation: str = "") -> None:
        self.grid = grid
        self.named = named
        self.timeout = min(config.round_timeout, max(config.sites_timeout, MIN_DESCRIBE_SECONDS))
        self.federation = federation or config.federation
        self.packages = {PACKAGES_KEY: text} if (text := list_packages(config.methods)) else {}
        self.names: set[str] = set()  # of all sites that answered
        self.candidates: dict[str, SiteInfo] = {}  # sites that may take part
        self.problems: dict[str, str] = {}  # why others cannot
        self.problem_nodes: dict[str, int] = {}
        self.policy_refusals: set[str] = set()  # names among the problems
        self.wants_federation = self.virtual = False
        self._asked_at: dict[int, float] = {}  # infinity for nodes whose answer was accepted
        self._printed: set[tuple[str, str]] = set()  # problems that the operator has read

    @property
    def is_refused_by_all(self) -> bool:
        """Whether nodes are connected, and each of them has a policy that refuses the run."""
        return bool(self.policy_refusals) and self.policy_refusals == self.problems.keys() | self.names

    def ask_new_nodes(self) -> bool:
        """Ask the nodes that connected since the last time; return whether there were any."""
        now, names = time.monotonic(), node_names(self.grid)
        online = [node for node, name in names.items() if not (name and self.named) or name in self.named]
        nodes = sorted(n for n in online if now > self._asked_at.get(n, -RETRY_SECONDS) + RETRY_SECONDS)
        config = ConfigRecord({"fingerprint": fingerprint(), "federation": self.federation, **self.packages})
        requests = [Message(RecordDict({"config": config}), node, "query.describe") for node in nodes]
        replies = send_and_receive(self.grid, requests, self.timeout) if nodes else []
        reply_of = {reply.metadata.src_node_id: reply for reply in replies}
        for node in nodes:
            name = printable(names[node]) or f"node {node}"
            self.problems.pop(name, None)
            self.policy_refusals.discard(name)
            self._asked_at[node] = now
            try:
                if any(names.values()) and not names[node]:
                    raise ValueError(
                        "it is registered without a name: register it under the name of its partition"
                    )
                self._add_sites(node, names[node], reply_of.get(node))
                self._asked_at[node] = math.inf
            except ValueError as error:
                self.problems[name] = printable(str(error))
                self.problem_nodes[name] = node
                reply = reply_of.get(node)
                if reply is not None and reply.has_error() and reply.error.code == POLICY_REFUSED:
                    self.policy_refusals.add(name)
        return bool(nodes)

    def _add_sites(self, node: int, name: str, reply: Message | None) -> None:
        """Add the sites of a node; ValueError with what is wrong with its answer."""
        if reply is None:
            raise ValueError(f"it did not answer within {self.timeout:g} s")
        if reply.has_error():
            raise ValueError(last_line(reply.error.reason))
        try:
            answer = reply.content.config_records["config"]
            answers = [json.loads(text) for text in answer["sites"]]  # type: ignore[union-attr, arg-type]
            if not name:  # a hospital must not declare the run a simulation
                self.wants_federation |= bool(answer["wants-federation"])
                self.virtual |= bool(answer["virtual"])
            sites = {site["name"]: self._read_site(node, name, site) for site in answers}
        except Exception as error:  # whatever a site answers, the others go on
            if type(error) is ValueError:  # with a sentence of `SiteInfo`
                raise
            raise ValueError(f"its answer cannot be read ({type(error).__name__})") from None
        for site in sites:
            if name and site != name:
                raise ValueError(
                    f"it is registered as {printable(name)}, but its partition is that of {site}: start it "
                    f"with the partition of {printable(name)}, or register it as {site}"
                )
            if site in self.candidates and self.candidates[site].node_id != node:
                raise RunError(f"the federation cannot start: two sites are called {site}")
        self.names |= sites.keys()
        chosen = {site: info for site, info in sites.items() if not self.named or site in self.named}
        self.candidates |= chosen

    def _read_site(self, node: int, name: str, answer: dict) -> SiteInfo:
        """Read what a node says of a site; ValueError names the site, where the node has no name."""
        try:
            return SiteInfo.read(node, answer)
        except ValueError as error:
            if name:
                raise
            folder = f" in {self.federation}" if self.virtual else ""
            raise ValueError(f"site {printable(str(answer['name']))}{folder}: {error}") from None

    def print_new_problems(self, roster: Roster) -> None:
        """Print which nodes cannot take part, and why, each once."""
        for name, reason in roster.excluded.items():
            if (name, reason) not in self._printed:
                print(f"cannot take part: {name}: {reason}", flush=True)
                self._printed.add((name, reason))

    def notify_excluded(self, roster: Roster, timeout: float = 0.0) -> None:
        """Let the nodes that are excluded write why in their own logs.

        Parameters
        ----------
        roster : Roster
        timeout : float
            Seconds to wait until they have, before the run ends and its messages are dropped.
        """
        nodes = {name: site.node_id for name, site in self.candidates.items()} | self.problem_nodes
        messages = [
            Message(RecordDict({"config": ConfigRecord({"why": reason})}), nodes[name], "query.left_out")
            for name, reason in roster.excluded.items()
            if name in nodes and name not in self.policy_refusals  # their logs have the refusals already
        ]
        if messages and timeout and not roster.virtual:
            send_and_receive(self.grid, messages, timeout)
        elif messages:
            self.grid.push_messages(messages)


def node_names(grid: Grid) -> dict[int, str]:
    """Return the nodes that are online with their registered names; virtual nodes have none."""
    return {node.node_id: node.name for node in grid.get_nodes()}


def compatible_sites(roll_call: RollCall, expected: Manifest | None = None) -> Roster:
    """Return the sites that fit together, and fit the site with the expected manifest if there is one.

    In a simulation, RunError names those that do not, and why.
    """
    sites = dict(sorted(roll_call.candidates.items()))
    problems = {name: [reason] for name, reason in roll_call.problems.items()}
    for name, site in sites.items():
        if not site.manifest.windows["train"]:
            problems.setdefault(name, []).append(NO_TRAINING_WINDOWS)
        elif not site.sums[:, 0].sum():
            problems.setdefault(name, []).append("it has no observed sample in its training windows")
    for name, difference in check_same_schema([site.manifest for site in sites.values()], expected).items():
        problems.setdefault(name, []).append(printable(difference))
    excluded = {name: "; ".join(reasons) for name, reasons in problems.items()}
    # In a simulation of many small hospitals, some have patients of other splits alone.
    faults = {name: reason for name, reason in excluded.items() if reason != NO_TRAINING_WINDOWS}
    if faults and roll_call.virtual:
        # Virtual nodes have no names that a person knows, and their reasons name the site or the file.
        reasons = dict.fromkeys(
            reason if name in roll_call.problem_nodes else f"site {name}: {reason}"
            for name, reason in faults.items()
        )
        raise RunError(f"the federation cannot start: {'; '.join(reasons)}")
    compatible = {name: site for name, site in sites.items() if name not in excluded}
    return Roster(compatible, excluded, roll_call.virtual)
