"""Run the rounds of a phase, starting at any of them: train, average, evaluate, write a checkpoint."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import Any, TypeVar

from flwr.app import ConfigRecord, Message
from flwr.serverapp import Grid

from condi_core.config import RunConfig
from condi_core.protocol import COMPLETIONS_MISSING, fingerprint
from condi_core.training import cosine_rate
from data_partitions.manifest import SPLITS
from server_app.artifacts.run_directory import RunDirectory, RunState
from server_app.artifacts.tensorboard import TensorBoardWriter
from server_app.errors import RunError, TooFewSitesError
from server_app.federation.messaging import POLL_SECONDS, send_and_receive
from server_app.federation.secure_aggregation import SecureTraining
from server_app.federation.strategy import EvaluationOutcome, ModalityFedAvg, TrainingOutcome

Outcome = TypeVar("Outcome")


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
    events: TensorBoardWriter

    def message(self, phase: str, **settings) -> ConfigRecord:
        """Return the settings of a request, with those that every request has."""
        common = {"fingerprint": fingerprint(), "federation": self.federation, "phase": phase}
        return ConfigRecord({**common, **settings})

    def run_phase(self, phase: Phase) -> None:
        """Do the rounds of a phase that have not been done; RunError when too few sites answer."""
        state = self.state
        first = state.done.get(phase.name, 0) + 1
        phase_start, restore_bytes = time.monotonic(), 0
        if phase.restore and first <= phase.rounds:
            restore_bytes = phase.restore(phase.strategy.roster.sites, SPLITS)
        first_start = time.monotonic()
        for round_ in range(first, phase.rounds + 1):
            with self._with_resume_hint(f"{phase.name}, round {round_}"):
                line = self._run_round(phase, round_)
            if round_ == first:  # what happened before it is a cost of the phase
                line["seconds"] += first_start - phase_start
                line["bytes-down"] += restore_bytes
            state.done[phase.name] = round_
            state.trained_round = {}
            state.history.append(line)
            self.directory.save(state)
            self.events.write(state.history)
            seconds_per_round = (time.monotonic() - first_start) / (round_ - first + 1)
            remaining_seconds = seconds_per_round * (phase.rounds - round_)
            print(_progress_line(phase, line, remaining_seconds), flush=True)

    def _run_round(self, phase: Phase, round_: int) -> dict[str, Any]:
        """Train, average and evaluate; return the line of the history."""
        start, line = time.monotonic(), dict(self.state.trained_round)
        if (line.get("phase"), line.get("round")) == (phase.name, round_):
            start -= line["train-seconds"]
        else:
            line = self._train_round(phase, round_)
        privacy = self.config.privacy
        is_private = privacy.noise_multiplier > 0
        if phase.evaluated:
            evaluated = self._retry_when_sites_return(phase, partial(self._evaluate, phase, round_, "val"))
            line |= {"metrics": evaluated.metrics, "selection-score": evaluated.selection_score}
            line["bytes-down"] += evaluated.exchange.bytes_down
            failures = evaluated.exchange.failures.items()
            line["failures"] |= {f"{name} (evaluation)": reason for name, reason in failures}
            # Scores have no noise, and the choice of the best round would reveal them. With privacy, the last
            # round is selected instead.
            score = math.nan if is_private or privacy.patient_epsilon else evaluated.selection_score
            self._keep_if_best(phase.model, round_, score)
        return line | {"seconds": time.monotonic() - start}

    def _train_round(self, phase: Phase, round_: int) -> dict[str, Any]:
        """Train and average; return the line of the history without the evaluation."""
        start = time.monotonic()
        rate = cosine_rate(phase.learning_rate, round_, phase.rounds)
        config = self.message(phase.name, **phase.settings, **{"learning-rate": rate})
        train = self._train_securely if self.config.secure_aggregation else self._train
        trained = self._retry_when_sites_return(phase, partial(train, phase, round_, config))
        train_seconds = time.monotonic() - start
        if self.config.privacy.noise_multiplier:
            # The release is counted before any site receives it: if the round is repeated, there is another.
            self.state.noisy_releases += 1
            self.directory.save(self.state)
        self.state.models[phase.model] = trained.state
        line: dict[str, Any] = {
            "phase": phase.name,
            "round": round_,
            "rounds": phase.rounds,
            "loss": trained.loss,
            "windows": trained.windows,
            "metrics": {},
            "bytes-down": trained.exchange.bytes_down,
            "bytes-up": trained.exchange.bytes_up,
            "train-seconds": train_seconds,
            "sites-asked": len(trained.exchange.requested),
            "site-seconds": trained.exchange.seconds,
            "failures": dict(trained.exchange.failures),
        }
        if self.config.secure_aggregation:
            # If the run is interrupted, the training is not repeated: a sum over other sites than those that
            # answered now would, with this one, reveal who is in only one of them.
            self.state.trained_round = dict(line)
            self.directory.save(self.state)
        return line

    def _train(self, phase: Phase, round_: int, config: ConfigRecord) -> TrainingOutcome:
        """Let sites train, and average what they send back."""
        state = self.state.models[phase.model]
        requests = phase.strategy.configure_train(round_, state, config)
        return phase.strategy.aggregate_train(state, requests, self._send(phase, requests))

    def _train_securely(self, phase: Phase, round_: int, config: ConfigRecord) -> TrainingOutcome:
        """Let sites train, without the coordinator learning the update of any single site."""
        training = SecureTraining(self.grid, phase.strategy, self.config.round_timeout, phase.restore)
        return training.train(round_, self.state.models[phase.model], config)

    def _evaluate(self, phase: Phase, round_: int, split: str, samples: int = 0) -> EvaluationOutcome:
        """Let sites evaluate the phase's current weights on a split."""
        settings = {**phase.settings, "split": split, "samples": samples}
        config = self.message(phase.name, **settings)
        requests = phase.strategy.configure_evaluate(round_, self.state.models[phase.model], config)
        splits = ["test"] if split == "test" else SPLITS  # training is over when the test is scored
        replies = self._send(phase, requests, splits)
        return phase.strategy.aggregate_evaluate(requests, replies, split, samples)

    def test(self, phase: Phase, samples: int = 0) -> EvaluationOutcome:
        """Let sites score the best weights on their test windows, and write the sums."""
        self.state.models[phase.model] = self.state.best[phase.model]
        with self._with_resume_hint(f"{phase.name}, test"):
            outcome = self._retry_when_sites_return(
                phase, partial(self._evaluate, phase, phase.rounds, "test", samples)
            )
        self.directory.save_sums(phase.name, outcome.site_sums)
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
        sites = phase.strategy.roster.sites
        return [name for name in names if sites[name].node_id not in online]

    @contextmanager
    def _with_resume_hint(self, position: str) -> Iterator[None]:
        """Add to a RunError where the run stopped and how to resume it."""
        try:
            yield
        except RunError as error:
            raise RunError(
                f"{position}: {error}; after fixing this, resume with resume='{self.directory.path}'"
            ) from None

    def _send(
        self, phase: Phase, requests: Sequence[Message], splits: Sequence[str] = SPLITS
    ) -> list[Message]:
        """Send requests and return the replies.

        A site that has lost what the phase needs gets it again for `splits`, and then the request again.
        """
        timeout, site_of = self.config.round_timeout, phase.strategy.roster.site_of
        replies = send_and_receive(self.grid, requests, timeout)
        lost = {site_of(r) for r in replies if r.has_error() and r.error.code == COMPLETIONS_MISSING}
        if lost and phase.restore:
            phase.restore(lost, splits)
            again = [_copy(request) for request in requests if request.metadata.group_id in lost]
            replies = [reply for reply in replies if site_of(reply) not in lost]
            replies += send_and_receive(self.grid, again, timeout)
        return replies

    def _keep_if_best(self, model: str, round_: int, score: float) -> None:
        """Keep the weights of the lowest validation score; without validation windows, the latest."""
        best = self.state.scores.get(model, (math.inf, 0))[0]
        unknown = not math.isfinite(score) and math.isinf(best)
        if unknown or score < best:
            self.state.scores[model] = (math.inf if unknown else score, round_)
            self.state.best[model] = self.state.models[model]


def _copy(request: Message) -> Message:
    """Return a request that can be sent again; it shares the content, which is not packed again."""
    to = request.metadata
    return Message(request.content, to.dst_node_id, to.message_type, group_id=to.group_id)


def _progress_line(phase: Phase, line: dict, remaining_seconds: float) -> str:
    """Return what the terminal shows of a round."""
    parts = [f"{phase.name:<12} round {line['round']:>2}/{line['rounds']}"]
    if phase.evaluated:
        metrics = {key: value for key, value in line["metrics"].items() if key != "score"}
        loss = [f"loss {line['loss']:.4f}"] if line["loss"] else []  # it is withheld to protect patients
        parts += [*loss, *(f"{key} {value:.3f}" for key, value in metrics.items())]
    parts += [f"{len(line['site-seconds'])}/{line['sites-asked']} sites", f"{line['seconds']:.0f} s"]
    if remaining_seconds > 0:
        parts.append(f"about {_duration(remaining_seconds)} left in this phase")
    failures = "".join(f"\n  {name}: {reason}" for name, reason in line["failures"].items())
    return "  ".join(parts) + failures


def _duration(seconds: float) -> str:
    return f"{seconds:.0f} s" if seconds < 90 else f"{seconds / 60:.0f} min"
