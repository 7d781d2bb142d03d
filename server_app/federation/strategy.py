"""ModalityFedAvg: average each parameter over the sites that trained the modality it belongs to.

The averaging itself is in `condi_core.averaging`; this module makes the requests to sites and combines their
replies, which `replies` checks.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from functools import partial

import numpy as np
from flwr.app import ConfigRecord, Message, RecordDict

from condi_core.averaging import Aggregator, Arrays, average
from condi_core.ownership import Owner
from condi_core.protocol import SCORE_PREFIX
from condi_core.robust_averaging import limit_claims
from condi_core.serialization import max_packed_size, round_to_half
from server_app.artifacts.scores import Evaluation
from server_app.federation.client_sampling import SiteSampler, all_sites
from server_app.federation.exchange import Exchange, Part, Reader, read_exchange, requested_parts
from server_app.federation.outcome import EvaluationOutcome, TrainingOutcome
from server_app.federation.records import records_by_site
from server_app.federation.replies import (
    EvaluationReply,
    read_evaluation_reply,
    read_training_reply,
)
from server_app.federation.roster import Roster

MIN_SITES_FOR_MEDIAN = 3  # two sites have no majority


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
        Selects the sites that train in a round.
    evaluator_sampler : SiteSampler
        Selects the sites that score the weights from which a round starts; all sites score the test.
    max_steps : int
        Largest number of optimiser steps that a site may take in a round.
    max_window_ratio : float
        A site counts for at most this many times the windows of the median site; see `limit_claims`.
    counts_samples : bool
        Whether the counts of pairs of modalities are of samples in the first round, and not of windows.
    check_arrays : callable, optional
        Raises ReplyError for arrays of a reply that no data can give.
    half : bool
        Whether weights that are trained have the numbers of float16, in which they are sent.
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
        evaluator_sampler: SiteSampler = all_sites,
        max_steps: int = 1,
        max_window_ratio: float = math.inf,
        counts_samples: bool = False,
        check_arrays: Callable[[Arrays], None] | None = None,
        half: bool = False,
    ) -> None:
        self.roster = roster
        self.action = action
        self.owners = owners
        self.returned = returned
        self.evaluation = evaluation
        self.min_sites = min_sites
        self.aggregate = aggregate
        self.sampler = sampler
        self.evaluator_sampler = evaluator_sampler
        self.max_steps = max_steps
        self.max_window_ratio = max_window_ratio
        self.counts_samples = counts_samples
        self.check_arrays = check_arrays
        self.half = half

    def round_weights(self, state: Arrays) -> Arrays:
        """Round what sites train to the numbers in which it is sent."""
        if not self.half:
            return state
        trained = {name for name in state if name.count("/") <= 1 and name.split("/")[-1] in self.returned}
        return {name: round_to_half(a) if name in trained else a for name, a in state.items()}

    def configure_train(
        self,
        server_round: int,
        state: Arrays,
        config: ConfigRecord,
        evaluation: ConfigRecord | None = None,
    ) -> list[Message]:
        """Return the requests to the sites that train in a round (from 1).

        Parameters
        ----------
        server_round : int
            Number of the round.
        state : Arrays
            The state from which sites start.
        config : ConfigRecord
            Settings of the training.
        evaluation : ConfigRecord, optional
            Settings of an evaluation on validation windows. With these, evaluators score the state before
            they train, and those that do not train in this round are asked to evaluate it.
        """
        trainers = self.sampler(list(self.roster.sites), server_round)
        evaluators = self.evaluators(server_round - 1) if evaluation is not None else []
        train = f"train.{self.action}"
        settings = {
            scores: ConfigRecord({**config, "server-round": server_round, "evaluate": scores})
            for scores in (True, False)
        }
        asked = {name: (train, settings[name in evaluators]) for name in trainers}
        if evaluation is not None:
            alone = ConfigRecord({**evaluation, "server-round": server_round - 1})
            asked |= {n: (f"evaluate.{self.action}", alone) for n in evaluators if n not in asked}
        return self._requests(state, asked)

    def configure_evaluate(
        self,
        server_round: int,
        state: Arrays,
        config: ConfigRecord,
        sites: Collection[str] | None = None,
    ) -> list[Message]:
        """Return the requests to sites, by default all, to evaluate a state."""
        settings = ConfigRecord({**config, "server-round": server_round})
        names = self.roster.sites if sites is None else sites
        return self._requests(state, {name: (f"evaluate.{self.action}", settings) for name in names})

    def evaluators(self, server_round: int) -> list[str]:
        """Return the sites that score the state of a round on validation windows."""
        return self.evaluator_sampler(list(self.roster.sites), server_round + 1)

    def _requests(self, state: Arrays, asked: Mapping[str, tuple[str, ConfigRecord]]) -> list[Message]:
        """Return a request to each site, of a kind and with settings.

        Contents that are equal are one object, which is packed and sent to the SuperLink once.
        """
        requests = []
        contents: dict[tuple[int, int], RecordDict] = {}
        for name, record in records_by_site(state, list(asked), self.half).items():
            kind, settings = asked[name]
            content = RecordDict({"arrays": record, "config": settings})
            content = contents.setdefault((id(record), id(settings)), content)
            requests.append(Message(content, self.roster.sites[name].node_id, kind, group_id=name))
        return requests

    def aggregate_train(
        self, state: Arrays, requests: Sequence[Message], replies: Iterable[Message]
    ) -> TrainingOutcome:
        """Make the next state from the valid replies, and read the scores of the state that was sent.

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
        updating = [request for request in requests if "update" in requested_parts(request)]
        is_first = all(r.content.config_records["config"]["server-round"] == 1 for r in updating)
        readers: dict[Part, Reader] = {
            "update": partial(
                read_training_reply,
                base=state,
                returned=self.returned,
                max_steps=self.max_steps,
                counts_samples=self.counts_samples and is_first,
                check_arrays=self.check_arrays,
                half=self.half,
            )
        }
        shapes: dict[str, tuple[int, ...]] = {name: state[name].shape for name in self.returned}
        if any("scores" in requested_parts(request) for request in requests):
            readers["scores"] = self._score_reader("val", 0)
            scored = self.evaluation.shapes("val", 0)
            shapes |= {SCORE_PREFIX + name: shape for name, shape in scored.items()}
        parts = read_exchange(self.roster, requests, replies, readers, max_packed_size(shapes))
        evaluated = self._add_scores(*parts["scores"], "val", 0) if "scores" in parts else None
        valid, exchange = parts["update"]
        exchange.require_min_sites(self.min_sites)
        # The arrays are in the order of names, so that an aggregator computes the same after a checkpoint has
        # been read back.
        base = dict(sorted(state.items()))
        updates = limit_claims([reply.update for reply in valid.values()], self.max_window_ratio)
        windows = float(sum(update.windows for update in updates))
        losses = [reply.loss for reply in valid.values()]
        loss = sum(loss * update.windows for loss, update in zip(losses, updates, strict=True)) / windows
        next_state = self.round_weights(self.aggregate(base, self.owners, updates))
        return TrainingOutcome(next_state, loss, windows, exchange, evaluated)

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
        max_bytes = max_packed_size(self.evaluation.reply_shapes(split, samples))
        readers: dict[Part, Reader] = {"scores": self._score_reader(split, samples)}
        parts = read_exchange(self.roster, requests, replies, readers, max_bytes)
        return self._add_scores(*parts["scores"], split, samples)

    def _score_reader(self, split: str, samples: int) -> Reader:
        return partial(
            read_evaluation_reply,
            shapes=self.evaluation.reply_shapes(split, samples),
            names=self.evaluation.scalars,
            max_value=self.evaluation.max_value,
        )

    def _add_scores(
        self, valid: Mapping[str, EvaluationReply], exchange: Exchange, split: str, samples: int
    ) -> EvaluationOutcome:
        exchange.require_min_sites(self.min_sites)
        sums: Arrays = {}
        scalars = dict.fromkeys(self.evaluation.scalars, 0.0)
        for reply in valid.values():
            for name in self.evaluation.shapes(split, samples):
                sums[name] = sums[name] + reply.sums[name] if name in sums else reply.sums[name]
            for name in scalars:
                scalars[name] += reply.scalars[name]
        metrics = {key: float(value) for key, value in self.evaluation.read(sums, scalars).items()}
        site_scores = [float(self.evaluation.read(r.sums, r.scalars)["score"]) for r in valid.values()]
        known = [score for score in site_scores if math.isfinite(score)]
        has_majority = len(known) >= MIN_SITES_FOR_MEDIAN
        score = float(np.median(known)) if has_majority else metrics["score"]
        site_sums = {site: reply.sums for site, reply in valid.items()}
        replicates = {site: r.replicates for site, r in valid.items() if r.replicates is not None}
        return EvaluationOutcome(metrics, score, sums, site_sums, exchange, replicates)
