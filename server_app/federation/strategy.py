"""ModalityFedAvg: average each parameter over the sites that trained the modality it belongs to.

The averaging itself is in `condi_core.averaging`; this module makes the requests to sites and combines their
replies, which `replies` checks.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TypeVar

import numpy as np
from flwr.app import ConfigRecord, Message, RecordDict

from condi_core.averaging import Aggregator, Arrays, average
from condi_core.ownership import Owner
from condi_core.robust_averaging import limit_claims
from server_app.artifacts.scores import Evaluation
from server_app.artifacts.site_info import SiteInfo
from server_app.errors import RunError, TooFewSitesError, last_line
from server_app.federation.client_sampling import SiteSampler, all_sites
from server_app.federation.records import num_bytes, records_by_site
from server_app.federation.replies import (
    EvaluationReply,
    ReplyError,
    TrainingReply,
    read_evaluation_reply,
    read_reply,
    read_training_reply,
)
from server_app.federation.roster import Roster

Reply = TypeVar("Reply", TrainingReply, EvaluationReply)
MIN_SITES_FOR_MEDIAN = 3  # two sites have no majority


@dataclass(frozen=True)
class Exchange:
    """The outcome of an exchange of requests and replies."""

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


@dataclass(frozen=True)
class TrainingOutcome:
    """The result of a round of training."""

    state: Arrays
    loss: float  # mean over training windows
    windows: float  # that the sites count for
    exchange: Exchange


@dataclass(frozen=True)
class EvaluationOutcome:
    """The result of an evaluation."""

    metrics: dict[str, float]  # of all windows together
    selection_score: float  # the lower, the better; see `ModalityFedAvg.aggregate_evaluate`
    sums: Arrays
    site_sums: dict[str, Arrays]  # what each site added to the sums
    exchange: Exchange


class ModalityFedAvg:
    """FedAvg (McMahan et al. 2017) with one weight per modality and per pair of modalities.

    The methods have the names of Flower's `Strategy`, but a run cannot use the loop over rounds of that
    class: a run resumes at any round, repeats rounds, and has sites that have lost their completed windows
    complete them again. A strategy keeps no state between calls.

    Parameters
    ----------
    roster : Roster
        Sites of the run, in the order in which everything is added up.
    action : str
        Name of the sites' handlers, `train.<action>` and `evaluate.<action>`.
    owners : dict of str to Owner
        Modality, pair or nothing that each array of the state belongs to.
    returned : set of str
        Arrays that sites send back.
    evaluation : Evaluation
        Sums of an evaluation, and how metrics are read from them.
    min_sites : int
        Smallest number of valid replies with which a round counts.
    aggregate : Aggregator
        Makes the next state from the replies.
    sampler : SiteSampler
        Selects the sites that train in a round; all sites evaluate.
    max_steps : int
        Largest number of optimiser steps that a site may take in a round.
    max_window_ratio : float
        A site counts for at most this many times the windows of the median site; see `limit_claims`.
    counts_samples : bool
        Whether the counts of pairs of modalities are of samples in the first round, and not of windows.
    check_arrays : callable, optional
        Raises ReplyError for arrays of a reply that no data can give.
    """

    def __init__(
        self,
        roster: Roster,
        action: str,
        owners: dict[str, Owner],
        returned: set[str],
        evaluation: Evaluation,
        min_sites: int,
        aggregate: Aggregator = average,
        sampler: SiteSampler = all_sites,
        max_steps: int = 1,
        max_window_ratio: float = math.inf,
        counts_samples: bool = False,
        check_arrays: Callable[[Arrays], None] | None = None,
    ) -> None:
        self.roster = roster
        self.action = action
        self.owners = owners
        self.returned = returned
        self.evaluation = evaluation
        self.min_sites = min_sites
        self.aggregate = aggregate
        self.sampler = sampler
        self.max_steps = max_steps
        self.max_window_ratio = max_window_ratio
        self.counts_samples = counts_samples
        self.check_arrays = check_arrays

    def configure_train(self, server_round: int, state: Arrays, config: ConfigRecord) -> list[Message]:
        """Return the requests to the sites that train in a round (from 1)."""
        sites = self.sampler(list(self.roster.sites), server_round)
        return self._requests("train", sites, server_round, state, config)

    def configure_evaluate(self, server_round: int, state: Arrays, config: ConfigRecord) -> list[Message]:
        """Return the requests to all sites to evaluate a state."""
        return self._requests("evaluate", list(self.roster.sites), server_round, state, config)

    def _requests(
        self, kind: str, sites: Sequence[str], server_round: int, state: Arrays, config: ConfigRecord
    ) -> list[Message]:
        requests = []
        for name, record in records_by_site(state, sites).items():
            site_config = ConfigRecord({**config, "site": name, "server-round": server_round})
            content = RecordDict({"arrays": record, "config": site_config})
            node = self.roster.sites[name].node_id
            requests.append(Message(content, node, f"{kind}.{self.action}", group_id=name))
        return requests

    def aggregate_train(
        self, state: Arrays, requests: Sequence[Message], replies: Iterable[Message]
    ) -> TrainingOutcome:
        """Make the next state from the valid replies.

        Parameters
        ----------
        state : Arrays
            The state that sites were sent.
        requests : sequence of Message
            Requests of `configure_train`.
        replies : iterable of Message
            Replies in any order.

        Raises
        ------
        TooFewSitesError
            Fewer than `min_sites` replies are valid.
        """
        is_first = all(r.content.config_records["config"]["server-round"] == 1 for r in requests)
        read = partial(
            read_training_reply,
            base=state,
            returned=self.returned,
            max_steps=self.max_steps,
            counts_samples=self.counts_samples and is_first,
            check_arrays=self.check_arrays,
        )
        valid, exchange = self._read(requests, replies, read)
        # The arrays are in the order of names, so that an aggregator computes the same after a checkpoint has
        # been read back.
        base = dict(sorted(state.items()))
        updates = limit_claims([reply.update for reply in valid.values()], self.max_window_ratio)
        windows = float(sum(update.windows for update in updates))
        losses = [reply.loss for reply in valid.values()]
        loss = sum(loss * update.windows for loss, update in zip(losses, updates, strict=True)) / windows
        return TrainingOutcome(self.aggregate(base, self.owners, updates), loss, windows, exchange)

    def aggregate_evaluate(
        self, requests: Sequence[Message], replies: Iterable[Message], split: str = "val", samples: int = 0
    ) -> EvaluationOutcome:
        """Add up the sums of the valid replies and read the metrics from the total.

        The best round is selected by the median of the sites' scores, so that no single site can select it by
        false sums; where fewer than `MIN_SITES_FOR_MEDIAN` sites have windows, by the score of all windows.

        Parameters
        ----------
        requests : sequence of Message
            Requests of `configure_evaluate`.
        replies : iterable of Message
            Replies in any order.
        split : str
            Which windows were scored.
        samples : int
            Number of draws that the imputer was asked for.

        Raises
        ------
        TooFewSitesError
            Fewer than `min_sites` replies are valid.
        """
        shapes = self.evaluation.shapes(split, samples)
        read = partial(
            read_evaluation_reply,
            shapes=shapes,
            names=self.evaluation.scalars,
            max_value=self.evaluation.max_value,
        )
        valid, exchange = self._read(requests, replies, read)
        sums: Arrays = {}
        scalars = dict.fromkeys(self.evaluation.scalars, 0.0)
        for reply in valid.values():
            for name in shapes:
                sums[name] = sums[name] + reply.sums[name] if name in sums else reply.sums[name]
            for name in scalars:
                scalars[name] += reply.scalars[name]
        metrics = {key: float(value) for key, value in self.evaluation.read(sums, scalars).items()}
        site_scores = [float(self.evaluation.read(r.sums, r.scalars)["score"]) for r in valid.values()]
        known = [score for score in site_scores if math.isfinite(score)]
        has_majority = len(known) >= MIN_SITES_FOR_MEDIAN
        score = float(np.median(known)) if has_majority else metrics["score"]
        return EvaluationOutcome(metrics, score, sums, {site: r.sums for site, r in valid.items()}, exchange)

    def _read(
        self,
        requests: Sequence[Message],
        replies: Iterable[Message],
        read: Callable[[RecordDict, SiteInfo], Reply],
    ) -> tuple[dict[str, Reply], Exchange]:
        """Return the valid replies by site, in the roster's order, and how the exchange went."""
        requested = [request.metadata.group_id for request in requests]
        failures = dict.fromkeys(requested, "no answer in time")
        valid: dict[str, Reply] = {}
        for reply in replies:
            name = self.roster.site_of(reply)
            if reply.has_error():
                if self.roster.virtual and "ActorDiedError" in (reply.error.reason or ""):
                    # Flower puts the dead actor back into its pool, where it fails whatever it gets next.
                    raise RunError("a worker of the simulation died, most often because memory ran out")
                if name not in valid:
                    failures[name] = last_line(reply.error.reason)
            elif name not in self.roster.sites:
                failures[name] = "it is not part of this run"
            elif name in valid:
                failures[name] = "there were two replies in its name"
            else:
                try:
                    valid[name] = read_reply(read, reply.content, self.roster.sites[name])
                    failures.pop(name, None)
                except ReplyError as error:
                    failures[name] = f"its reply is refused: {error}"
        valid = {name: valid[name] for name in requested if name in valid and name not in failures}
        exchange = Exchange(
            requested,
            {name: reply.seconds for name, reply in valid.items()},
            failures,
            sum(num_bytes(request.content.array_records["arrays"]) for request in requests),
            sum(reply.bytes_up for reply in valid.values()),
        )
        exchange.require_min_sites(self.min_sites)
        return valid, exchange
