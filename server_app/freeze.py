"""Between the phases: every site completes its windows once with the frozen imputer."""

from __future__ import annotations

import hashlib

import numpy as np
from flwr.app import Message, RecordDict

from server_app.errors import RunError
from server_app.phases import Run
from server_app.roster import Roster
from server_app.strategy import Arrays, ModalityFedAvg, to_record

MISSING = 404  # a site's code for "no completed windows here"


def digest(arrays: Arrays) -> str:
    """Hash of named arrays, independent of their order."""
    h = hashlib.sha256()
    for name in sorted(arrays):
        array = np.ascontiguousarray(arrays[name])
        h.update(f"{name} {array.dtype} {array.shape}\n".encode() + array.tobytes())
    return h.hexdigest()


class Freeze:
    """Sends the imputer to the sites that need it, before each round of phase 2."""

    def __init__(self, run: Run, roster: Roster, method: str, imputer: Arrays) -> None:
        self.run, self.roster, self.method, self.imputer = run, roster, method, imputer
        self.hash = digest(imputer)
        self.needed = set(roster.sites)

    def ensure(self, strategy: ModalityFedAvg | None) -> None:
        """Have every site complete its windows that is not known to have them."""
        if strategy is not None:
            self.needed |= {name for name, code in strategy.codes.items() if code == MISSING}
        if not self.needed:
            return
        first = len(self.needed) == len(self.roster.sites)
        if first:
            print("sites complete their windows with the imputer", flush=True)
        arrays, messages = to_record(self.imputer), []
        for name in self.roster.sites:
            if name in self.needed:
                config = self.run.message("complete", method=self.method, imputer=self.hash, site=name)
                content = RecordDict({"arrays": arrays, "config": config})
                node = self.roster.sites[name].node_id
                messages.append(Message(content, node, "query.complete", group_id=name))
        failures = dict.fromkeys(self.needed, "no answer in time")
        for reply in self.run.grid.send_and_receive(messages, timeout=self.run.config.round_timeout):
            name = self.roster.site_of(reply)
            if reply.has_error():
                failures[name] = reply.error.reason
            else:
                self.needed.discard(name)
                failures.pop(name, None)
        for name, why in failures.items():
            print(f"  {name} has not completed its windows: {why}", flush=True)
        if len(self.roster.sites) - len(self.needed) < self.run.config.min_sites:
            raise RunError("too few sites have completed their windows")
