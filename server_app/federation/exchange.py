"""Read what sites replied to the requests of one exchange: their updates, their scores, or both."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from flwr.app import Message

from condi_core.serialization import packed_size
from server_app.artifacts.site_info import SiteInfo
from server_app.errors import RunError, TooFewSitesError, last_line
from server_app.federation.late_answers import NOT_SENT
from server_app.federation.replies import Content, ReplyError, read_reply, unpack
from server_app.federation.roster import Roster

Part = Literal["update", "scores"]
Reader = Callable[[Content, SiteInfo], Any]  # ReplyError for what the site cannot have sent


@dataclass(frozen=True)
class Exchange:
    """Which sites sent a valid reply, and the size of all messages."""

    requested: list[str]  # sites that were asked
    seconds: dict[str, float]  # site → seconds that it worked, for each site with a valid reply
    failures: dict[str, str]  # site → reason, for each site without a valid reply
    bytes_down: int
    bytes_up: int

    def require_min_sites(self, min_sites: int) -> None:
        """Raise TooFewSitesError when fewer than `min_sites` sites sent a valid reply."""
        if len(self.seconds) < min_sites:
            reasons = "; ".join(f"{name}: {reason}" for name, reason in self.failures.items())
            raise TooFewSitesError(
                f"only {len(self.seconds)} of {len(self.requested)} sites sent a valid reply, but min-sites "
                f"is {min_sites} ({reasons})",
                self.requested,
            )

    def answers(self) -> dict[str, object]:
        """Return which sites sent a valid reply and why the others did not, for the run's result."""
        return {"sites": list(self.seconds), "failures": dict(self.failures)}


def requested_parts(request: Message) -> tuple[Part, ...]:
    """Return what a request asks for: an update, scores, or both."""
    if request.metadata.message_type.startswith("evaluate"):
        return ("scores",)
    is_scored = request.content.config_records["config"].get("evaluate")
    return ("update", "scores") if is_scored else ("update",)


def count_parts(requests: Iterable[Message]) -> Counter[Part]:
    """Return how many requests ask for an update, and how many for scores."""
    return Counter(part for request in requests for part in requested_parts(request))


def read_exchange(
    roster: Roster,
    requests: Sequence[Message],
    replies: Iterable[Message],
    readers: Mapping[Part, Reader],
    max_bytes: int,
) -> dict[Part, tuple[dict[str, Any], Exchange]]:
    """Read all replies of an exchange.

    Parameters
    ----------
    roster : Roster
        Sites of the phase.
    requests : sequence of Message
        A site that sent an error may have been asked again for one part.
    replies : iterable of Message
        In any order.
    readers : mapping of part to callable
        Check a part of a reply, and make of it an object with the attribute `seconds`.
    max_bytes : int
        Limit of the size of a reply.

    Returns
    -------
    dict
        For each part, the valid ones by site, in the roster's order, and how the exchange went.
    """
    replies = list(replies)
    sent = [request for request in requests if request.metadata.message_id != NOT_SENT]
    bytes_down = sum(packed_size(request.content["arrays"]) for request in sent)
    contents = [_unpack(roster, reply, max_bytes) for reply in replies]
    bytes_up = sum(content.num_bytes for content in contents if isinstance(content, Content))
    result = {}
    for part, read in readers.items():
        names = {request.metadata.group_id for request in requests if part in requested_parts(request)}
        asked = [name for name in roster.sites if name in names]
        failures = dict.fromkeys(asked, "no answer in time")
        valid: dict[str, Any] = {}
        for reply, content in zip(replies, contents, strict=True):
            name, is_update = roster.site_of(reply), reply.metadata.message_type.startswith("train")
            if part == "update" and not is_update:
                continue
            if isinstance(content, str):
                if name not in valid and (name in asked or name not in roster.sites):
                    failures[name] = content
            elif name not in roster.sites:
                failures[name] = "it is not part of this run"
            elif name in valid:
                failures[name] = "there were two replies in its name"
            elif name in asked:
                try:
                    selected = content.select(part == "scores") if is_update else content
                    valid[name] = read_reply(read, selected, roster.sites[name])
                    failures.pop(name, None)
                except ReplyError as error:
                    failures[name] = f"its reply is refused: {error}"
        valid = {name: valid[name] for name in asked if name in valid and name not in failures}
        seconds = {name: reply.seconds for name, reply in valid.items()}
        result[part] = valid, Exchange(asked, seconds, failures, bytes_down, bytes_up)
    return result


def _unpack(roster: Roster, reply: Message, max_bytes: int) -> Content | str:
    """Return the content of a reply, or why it has none."""
    if not reply.has_error():
        try:
            return unpack(reply.content, max_bytes)
        except ReplyError as error:
            return f"its reply is refused: {error}"
    if roster.virtual and "ActorDiedError" in (reply.error.reason or ""):
        # Flower puts the dead actor back into its pool, where it fails whatever it gets next.
        raise RunError("a worker of the simulation died, most often because memory ran out")
    return last_line(reply.error.reason)
