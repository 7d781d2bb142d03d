"""Between the phases: every site completes its windows once with the frozen imputer."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from flwr.app import Message, RecordDict

from condi_core.averaging import Arrays
from condi_core.weights_file import hash_arrays
from server_app.errors import last_line
from server_app.federation.messaging import send_and_receive
from server_app.federation.roster import Roster
from server_app.federation.rounds import Run
from server_app.federation.strategy import records_by_site


class CompletionStep:
    """The imputer as it leaves phase 1, for the sites to complete their windows with."""

    def __init__(self, run: Run, roster: Roster, method: str, imputer: Arrays) -> None:
        self.run, self.roster, self.method, self.imputer = run, roster, method, imputer
        self.hash = hash_arrays(imputer)

    def complete(self, names: Collection[str], splits: Sequence[str]) -> int:
        """Have the named sites complete their windows of some splits; return the bytes that takes to send.

        One that cannot says so when it is asked to train, or to score.
        """
        which = "test windows" if list(splits) == ["test"] else "windows"
        print(f"{len(names)} sites complete their {which} with the imputer", flush=True)
        messages = []
        for name, arrays in records_by_site(self.imputer, sorted(names)).items():
            settings = {"method": self.method, "imputer": self.hash, "splits": list(splits), "site": name}
            config = self.run.message("complete", **settings)
            content = RecordDict({"arrays": arrays, "config": config})
            messages.append(
                Message(content, self.roster.sites[name].node_id, "query.complete", group_id=name)
            )
        for reply in send_and_receive(self.run.grid, messages, self.run.config.round_timeout):
            if reply.has_error():
                print(f"  {self.roster.site_of(reply)} has not: {last_line(reply.error.reason)}", flush=True)
        return len(messages) * sum(len(array.data) for array in arrays.values())
