"""Have every site complete its windows once between the phases, with the trained imputer."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from flwr.app import Message, RecordDict

from condi_core.averaging import Arrays
from condi_core.serialization import packed_size
from condi_core.weights_file import hash_arrays
from server_app.errors import last_line
from server_app.federation.messaging import send_and_receive
from server_app.federation.records import records_by_site
from server_app.federation.roster import Roster
from server_app.federation.rounds import Run


class CompletionStep:
    """The imputer at the end of phase 1, with which sites complete their windows."""

    def __init__(self, run: Run, roster: Roster, method: str, imputer: Arrays) -> None:
        self.run = run
        self.roster = roster
        self.method = method
        self.imputer = imputer
        self.hash = hash_arrays(imputer)

    def complete(self, sites: Collection[str], splits: Sequence[str]) -> int:
        """Have sites complete their windows of some splits; return the bytes that were sent.

        A site that cannot do so reports this again when it is asked to train or to score.
        """
        windows = "test windows" if list(splits) == ["test"] else "windows"
        print(f"{len(sites)} sites complete their {windows} with the imputer", flush=True)
        requests, sent, half = [], 0, self.run.config.transport == "float16"
        settings = {"method": self.method, "imputer": self.hash, "splits": list(splits)}
        config = self.run.message("complete", **settings)
        for name, record in records_by_site(self.imputer, sorted(sites), half).items():
            content = RecordDict({"arrays": record, "config": config})
            node = self.roster.sites[name].node_id
            requests.append(Message(content, node, "query.complete", group_id=name))
            sent += packed_size(record)
        for reply in send_and_receive(self.run.grid, requests, self.run.config.round_timeout):
            if reply.has_error():
                reason = last_line(reply.error.reason)
                print(f"  {self.roster.site_of(reply)} could not complete its windows: {reason}", flush=True)
        return sent
