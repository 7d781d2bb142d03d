"""Run the rounds of a phase, starting at any of them: train, average, score, write a checkpoint."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property, partial
from typing import Any, TypeVar

from flwr.app import ConfigRecord, Message
from flwr.common.constant import ErrorCode
from flwr.serverapp import Grid

from condi_core.config import RunConfig
from condi_core.protocol import COMPLETIONS_MISSING, POLICY_REFUSED, fingerprint
from condi_core.training import cosine_rate
from data_partitions.manifest import SPLITS
from server_app.artifacts.run_directory import RunDirectory, RunState
from server_app.artifacts.tracking import Tracking
from server_app.errors import RunError, TooFewSitesError
from server_app.federation.drained_sites import drained_sites, wait_for_undrained
from server_app.federation.early_stopping import has_stalled
from server_app.federation.exchange import requested_parts
from server_app.federation.joining_sites import stop_if_sites_join
from server_app.federation.late_answers import LateAnswers
from server_app.federation.messaging import POLL_SECONDS, Quorum, send_and_receive
from server_app.federation.outcome import EvaluationOutcome, TrainingOutcome
from server_app.federation.reply_pulling import ReplyPuller
from server_app.federation.round_lines import history_line, round_line, score_line
from server_app.federation.secure_aggregation import SecureTraining
from server_app.federation.strategy import ModalityFedAvg

Outcome = TypeVar("Outcome")
SITE_ERRORS = (ErrorCode.CLIENT_APP_RAISED_EXCEPTION, POLICY_REFUSED)  # of a site that can be asked again


@dataclass(frozen=True)
class Phase:
    """What happens in each round of a phase, and to which model of the state."""

    name: str
    model: str
    strategy: ModalityFedAvg
    rounds: int
    learning_rate: float = 0.0
    settings: dict = field(default_factory=dict)  # added to every message of the phase
    evaluated: bool = True
    # Gives sites what the phase needs for some splits, and returns the bytes that were sent.
    restore: Callable[[Collection[str], Sequence[str]], int] | None = None


@dataclass(frozen=True)
class Run:
    """The parts that all phases of a run share."""

    grid: Grid
    config: RunConfig
    federation: str
    directory: RunDirectory
    state: RunState
    tracking: Tracking

    def message(self, phase: str, **settings) -> ConfigRecord:
        """Return the settings of a request, with those that every request has."""
        common = {"fingerprint": fingerprint(), "federation": self.federation, "phase": phase}
        return ConfigRecord({**common, **settings})

    def run_phase(self, phase: Phase) -> None:
        """Do the rounds of a phase that have not been done; RunError when too few sites answer.

        The weights of a round are scored in the messages of the next round; those of the last one, and all
        under secure aggregation, in messages of their own.
        """
        state = self.state
        state.models[phase.model] = phase.strategy.round_weights(state.models[phase.model])
        first = state.done.get(phase.name, 0) + 1
        phase_start, restore_bytes = time.monotonic(), 0
        if phase.restore and first <= phase.rounds:
            drained = drained_sites(self.directory.path)
            sites = [name for name in phase.strategy.roster.sites if name not in drained]
            restore_bytes = phase.restore(sites, SPLITS)
        first_start = time.monotonic()
        self._score_alone(phase, first - 1)
        for round_ in range(first, phase.rounds + 1):
            if has_stalled(state, phase.name, phase.model, self.config.patience):
                print(f"{phase.name} ends early: {self.config.patience} rounds were no better", flush=True)
                break
            stop_if_sites_join(self.directory.path)
            with self._with_resume_hint(f"{phase.name}, round {round_}"):
                line = self._train_round(phase, round_)
            if round_ == first:  # what happened before it is a cost of the phase
                line["seconds"] += first_start - phase_start
                line["bytes-down"] += restore_bytes
            state.done[phase.name] = round_
            state.history.append(line)
            self._save()
            seconds_per_round = (time.monotonic() - first_start) / (round_ - first + 1)
            print(round_line(line, seconds_per_round * (phase.rounds - round_)), flush=True)
            self._score_alone(phase, round_)

    def _save(self) -> None:
        self.directory.save(self.state)
        self.tracking.write(self.state.history)

    def _unscored_line(self, phase: Phase) -> dict[str, Any] | None:
        """Return the line of the phase's last round if its weights still have to be scored."""
        line = self.state.history[-1] if self.state.history else {}
        is_unscored = phase.evaluated and line.get("phase") == phase.name and "selection-score" not in line
        return line if is_unscored else None

    def _score_alone(self, phase: Phase, round_: int) -> None:
        """Have sites score the weights of a round that no message of a next round can ask for."""
        is_alone = round_ == phase.rounds or self.config.secure_aggregation
        if not is_alone or (line := self._unscored_line(phase)) is None:
            return
        start = time.monotonic()
        with self._with_resume_hint(f"{phase.name}, round {round_}"):
            evaluated = self._retry_when_sites_return(phase, partial(self._evaluate, phase, round_, "val"))
        self._add_scores(phase, line, evaluated)
        line["seconds"] += time.monotonic() - start
        line["bytes-down"] += evaluated.exchange.bytes_down
        self._save()

    def _add_scores(self, phase: Phase, line: dict[str, Any], evaluated: EvaluationOutcome) -> None:
        """Add the scores of a round to its line, and keep its weights if they are the best."""
        line |= {"metrics": evaluated.metrics, "selection-score": evaluated.selection_score}
        failures = {f"{name} (evaluation)": reason for name, reason in evaluated.exchange.failures.items()}
        line["failures"] |= failures
        # Scores have no noise, and the choice of the best round would reveal them. With privacy, the last
        # round is selected instead.
        privacy = self.config.privacy
        is_private = privacy.noise_multiplier > 0 or privacy.patient_epsilon > 0
        score = math.nan if is_private else evaluated.selection_score
        if self._keep_if_best(phase.model, line["round"], score) and "task" in evaluated.sums:
            # The reports choose the thresholds of labels from the score histograms of these weights.
            self.directory.save_sums(phase.name, {"all": evaluated.sums}, "val")
        print(score_line(line, failures), flush=True)

    def _train_round(self, phase: Phase, round_: int) -> dict[str, Any]:
        """Train and average; return the line of the history, which has no scores yet."""
        start = time.monotonic()
        rate = cosine_rate(phase.learning_rate, round_, phase.rounds)
        config = self.message(phase.name, **phase.settings, **{"learning-rate": rate})
        unscored = self._unscored_line(phase)
        evaluation = None if unscored is None else self._evaluation_settings(phase, "val")
        train = (
            partial(self._train_securely, phase, round_, config)
            if self.config.secure_aggregation
            else partial(self._train, phase, round_, config, evaluation)
        )
        trained = self._retry_when_sites_return(phase, train)
        train_seconds = time.monotonic() - start
        if unscored is not None and trained.evaluated is not None:
            self._add_scores(phase, unscored, trained.evaluated)
        if self.config.privacy.noise_multiplier:
            # The release is counted before any site receives it: if the round is repeated, there is another.
            self.state.noisy_releases += 1
        self.state.models[phase.model] = trained.state
        # Losses of training patients have no noise, so sites withhold them.
        loss = None if self.config.privacy.patient_epsilon else trained.loss
        return history_line(phase.name, round_, phase.rounds, trained, loss, train_seconds)

    def _train(
        self, phase: Phase, round_: int, config: ConfigRecord, evaluation: ConfigRecord | None
    ) -> TrainingOutcome:
        """Let sites train, and average what they send back; with an evaluation, let them score first."""
        strategy, state = phase.strategy, self.state.models[phase.model]
        requests = self._undrained(phase, strategy.configure_train(round_, state, config, evaluation))
        replies = self._send(phase, requests, SPLITS, self._quorum)
        if evaluation is not None:
            # A site whose policy or memory does not allow training can still score.
            failed = {
                strategy.roster.site_of(r) for r in replies if r.has_error() and r.error.code in SITE_ERRORS
            }
            asked = [r.metadata.group_id for r in requests if requested_parts(r) == ("update", "scores")]
            if again := [name for name in asked if name in failed]:
                scoring = strategy.configure_evaluate(round_ - 1, state, evaluation, again)
                requests += scoring
                replies += self._send(phase, scoring, SPLITS, self._quorum)
        return strategy.aggregate_train(state, requests, replies)

    def _train_securely(self, phase: Phase, round_: int, config: ConfigRecord) -> TrainingOutcome:
        """Let sites train, without the coordinator learning the update of any single site."""
        training = SecureTraining(self.grid, phase.strategy, self.config.round_timeout, phase.restore)
        return training.train(round_, self.state.models[phase.model], config)

    def _evaluate(self, phase: Phase, round_: int, split: str, samples: int = 0) -> EvaluationOutcome:
        """Let sites evaluate the phase's current weights, or on test windows the best ones."""
        config = self._evaluation_settings(phase, split, samples)
        is_test = split == "test"
        sites = None if is_test else phase.strategy.evaluators(round_)
        weights = (self.state.best if is_test else self.state.models)[phase.model]
        requests = self._undrained(phase, phase.strategy.configure_evaluate(round_, weights, config, sites))
        # Training is over when the test is scored, and all sites are waited for.
        splits, quorum = (["test"], None) if is_test else (SPLITS, self._quorum)
        replies = self._send(phase, requests, splits, quorum)
        return phase.strategy.aggregate_evaluate(requests, replies, split, samples)

    def _evaluation_settings(self, phase: Phase, split: str, samples: int = 0) -> ConfigRecord:
        return self.message(phase.name, **phase.settings, split=split, samples=samples)

    def test(self, phase: Phase, samples: int = 0) -> EvaluationOutcome:
        """Let sites score the best weights on their test windows, and write the sums."""
        with self._with_resume_hint(f"{phase.name}, test"):
            evaluate = partial(self._evaluate, phase, phase.rounds, "test", samples)
            outcome = self._retry_when_sites_return(phase, evaluate)
        self.directory.save_sums(phase.name, outcome.site_sums)
        self.directory.save_replicates(phase.name, outcome.site_replicates)
        return outcome

    def _retry_when_sites_return(self, phase: Phase, attempt: Callable[[], Outcome]) -> Outcome:
        """Repeat an exchange with too few valid replies once sites that were offline are back.

        Waits at most `sites-timeout` seconds in total. Raises TooFewSitesError when that time is over, or
        when the exchange failed although all sites were online.
        """
        deadline = math.inf
        while True:
            try:
                return attempt()
            except TooFewSitesError as error:
                deadline = min(deadline, time.monotonic() + self.config.sites_timeout)
                if not self._offline_sites(phase, error.requested) or time.monotonic() >= deadline:
                    raise
                while (offline := self._offline_sites(phase, error.requested)) and (
                    time.monotonic() < deadline
                ):
                    print(f"waiting for {', '.join(offline)}", flush=True)
                    time.sleep(POLL_SECONDS)
                if len(error.requested) - len(offline) < phase.strategy.min_sites:
                    raise

    def _offline_sites(self, phase: Phase, names: Sequence[str]) -> list[str]:
        online = set(self.grid.get_node_ids())
        return [name for name in names if phase.strategy.roster.sites[name].node_id not in online]

    @contextmanager
    def _with_resume_hint(self, position: str) -> Iterator[None]:
        """Add to a RunError where the run stopped and how to resume it."""
        try:
            yield
        except RunError as error:
            raise RunError(
                f"{position}: {error}; after fixing this, resume with resume='{self.directory.path}'"
            ) from None

    @cached_property
    def _quorum(self) -> Quorum:
        return Quorum(self.config.quorum, self.config.min_sites, LateAnswers(ReplyPuller(self.grid)))

    def _undrained(self, phase: Phase, requests: Sequence[Message]) -> list[Message]:
        min_sites, timeout = phase.strategy.min_sites, self.config.sites_timeout
        return wait_for_undrained(self.directory.path, requests, min_sites, timeout)

    def _send(
        self, phase: Phase, requests: Sequence[Message], splits: Sequence[str], quorum: Quorum | None
    ) -> list[Message]:
        """Send requests and return the replies.

        A site that has lost what the phase needs gets it again for `splits`, and then the request again.
        """
        timeout, site_of = self.config.round_timeout, phase.strategy.roster.site_of
        replies = send_and_receive(self.grid, requests, timeout, quorum)
        lost = {site_of(r) for r in replies if r.has_error() and r.error.code == COMPLETIONS_MISSING}
        if lost and phase.restore:
            phase.restore(lost, splits)
            again = [_copy(request) for request in requests if request.metadata.group_id in lost]
            replies = [reply for reply in replies if site_of(reply) not in lost]
            replies += send_and_receive(self.grid, again, timeout, quorum)
        return replies

    def _keep_if_best(self, model: str, round_: int, score: float) -> bool:
        """Keep the weights of the lowest score, or without scores the latest; return whether they are."""
        best = self.state.scores.get(model, (math.inf, 0))[0]
        unknown = not math.isfinite(score) and math.isinf(best)
        is_best = unknown or score < best
        if is_best:
            self.state.scores[model] = (math.inf if unknown else score, round_)
            self.state.best[model] = self.state.models[model]
        return is_best


def _copy(request: Message) -> Message:
    """Return a request that can be sent again; it shares the content, which is not packed again."""
    to = request.metadata
    return Message(request.content, to.dst_node_id, to.message_type, group_id=to.group_id)
