"""Between the phases: every site completes its windows once with the frozen imputer."""

from __future__ import annotations

from collections.abc import Collection

from flwr.app import Message, RecordDict

from condi_core.averaging import Arrays
from condi_core.saved import digest
from server_app.errors import sentence
from server_app.phases import Run
from server_app.roster import Roster
from server_app.strategy import each_own
from server_app.waiting import send_and_receive


class Freeze:
    """The imputer as it leaves phase 1, for the sites to complete their windows with."""

    def __init__(self, run: Run, roster: Roster, method: str, imputer: Arrays) -> None:
        self.run, self.roster, self.method, self.imputer = run, roster, method, imputer
        self.hash = digest(imputer)

    def complete(self, names: Collection[str]) -> int:
        """Have the named sites complete their windows, and return the bytes that takes to send.

        One that cannot says so when it is asked to train.
        """
        print(f"{len(names)} sites complete their windows with the imputer", flush=True)
        messages = []
        for name, arrays in each_own(self.imputer, sorted(names)).items():
            config = self.run.message("complete", method=self.method, imputer=self.hash, site=name)
            content = RecordDict({"arrays": arrays, "config": config})
            messages.append(
                Message(content, self.roster.sites[name].node_id, "query.complete", group_id=name)
            )
        for reply in send_and_receive(self.run.grid, messages, self.run.config.round_timeout):
            if reply.has_error():
                print(f"  {self.roster.site_of(reply)} has not: {sentence(reply.error.reason)}", flush=True)
        return len(messages) * sum(len(array.data) for array in arrays.values())
