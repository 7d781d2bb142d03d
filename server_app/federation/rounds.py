"""A phase as rounds that can start at any round: train, average, evaluate, checkpoint."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import TypeVar

from flwr.app import ConfigRecord, Message
from flwr.serverapp import Grid

from condi_core.averaging import Arrays
from condi_core.config import RunConfig
from condi_core.protocol import COMPLETIONS_MISSING, fingerprint
from condi_core.training import cosine_rate
from data_partitions.manifest import SPLITS
from server_app.artifacts.run_directory import RunDirectory, RunState
from server_app.artifacts.tensorboard import TensorBoardWriter
from server_app.errors import RunError, TooFewSitesError
from server_app.federation.messaging import POLL_SECONDS, send_and_receive
from server_app.federation.secure_aggregation import SecureTraining
from server_app.federation.strategy import ModalityFedAvg, to_numpy, to_record
from server_app.report.on_completion import write_closing_documents

Answer = TypeVar("Answer")


@dataclass(frozen=True)
class Phase:
    """What to do in each round, for which model of the state."""

    name: str
    model: str
    strategy: ModalityFedAvg
    rounds: int
    learning_rate: float = 0.0
    settings: dict = field(default_factory=dict)  # added to every message of the phase
    evaluated: bool = True
    # Gives sites what the phase needs for some splits; bytes down.
    restore: Callable[[Collection[str], Sequence[str]], int] | None = None


@dataclass(frozen=True)
class Run:
    """What all phases of a run share."""

    grid: Grid
    config: RunConfig
    federation: str
    directory: RunDirectory
    state: RunState
    events: TensorBoardWriter

    def message(self, phase: str, **settings) -> ConfigRecord:
        common = {"fingerprint": fingerprint(), "federation": self.federation, "phase": phase}
        return ConfigRecord({**common, **settings})

    def carry_out(self, phase: Phase) -> None:
        """Do the rounds of a phase that have not been done; RunError when too few sites answer."""
        state, first = self.state, self.state.done.get(phase.name, 0) + 1
        began, sent = time.monotonic(), 0
        if phase.restore and first <= phase.rounds:
            sent = phase.restore(phase.strategy.roster.sites, SPLITS)
        started = time.monotonic()
        for round_ in range(first, phase.rounds + 1):
            with self._resumable(f"{phase.name}, round {round_}"):
                line = self._round(phase, round_)
            if round_ == first:  # what came before it is a cost of the phase
                line["seconds"] += started - began
                line["bytes-down"] += sent
            state.done[phase.name] = round_
            state.history.append(line)
            self.directory.save(state)
            self.events.write(state.history)
            left = (time.monotonic() - started) / (round_ - first + 1) * (phase.rounds - round_)
            print(_told(phase, line, left), flush=True)

    def _round(self, phase: Phase, round_: int) -> dict:
        start, state, strategy = time.monotonic(), self.state, phase.strategy
        rate = cosine_rate(phase.learning_rate, round_, phase.rounds)
        common = self.message(phase.name, **phase.settings)
        config = ConfigRecord({**common, "learning-rate": rate})
        train = self._train_securely if self.config.secure_aggregation else self._train
        after, trained, down, up = self._patiently(phase, partial(train, phase, round_, config))
        train_seconds = time.monotonic() - start
        sites, failures, asked = dict(strategy.answered), dict(strategy.failures), len(strategy.asked)
        private = self.config.privacy.noise_multiplier > 0
        if private:
            # Counted before anybody gets it: should this round be repeated, that is one more.
            state.noisy_releases += 1
            self.directory.save(state)
        state.models[phase.model] = after
        line = {
            "phase": phase.name,
            "round": round_,
            "rounds": phase.rounds,
            "loss": trained["loss"],
            "windows": trained["windows"],
            "metrics": {},
            "bytes-down": down,
            "bytes-up": up,
            "train-seconds": train_seconds,
            "sites-asked": asked,
            "site-seconds": sites,
            "failures": failures,
        }
        if phase.evaluated:
            line["metrics"] = self._patiently(phase, partial(self.evaluate, phase, round_, "val"))
            line["bytes-down"] += strategy.sent
            failures |= {f"{name} (evaluation)": why for name, why in strategy.failures.items()}
            # The best round tells what scores were, and those have no noise: with privacy it is the last.
            self._keep_if_best(phase.model, round_, math.nan if private else line["metrics"]["score"])
        return line | {"seconds": time.monotonic() - start}

    def _train(self, phase: Phase, round_: int, config: ConfigRecord) -> tuple[Arrays, dict, int, int]:
        """Let all sites train; the next state, loss and windows, and bytes down and up."""
        strategy, before = phase.strategy, to_record(self.state.models[phase.model])
        replies = self._exchange(phase, lambda: strategy.configure_train(round_, before, config, self.grid))
        after, trained = strategy.aggregate_train(round_, replies)
        return to_numpy(after), dict(trained), strategy.sent, strategy.received

    def _train_securely(
        self, phase: Phase, round_: int, config: ConfigRecord
    ) -> tuple[Arrays, dict, int, int]:
        """As `_train`, and no single site's part is known to the coordinator."""
        training = SecureTraining(self.grid, phase.strategy, self.config.round_timeout, phase.restore)
        after, trained = training.round(round_, self.state.models[phase.model], config)
        return after, trained, training.down, training.up

    def evaluate(self, phase: Phase, round_: int, split: str, **settings) -> dict[str, float]:
        """Metrics of the phase's current weights on a split; the sums stay in the strategy."""
        config = self.message(phase.name, **{**phase.settings, "split": split, "samples": 0, **settings})
        arrays = to_record(self.state.models[phase.model])
        replies = self._exchange(
            phase,
            lambda: phase.strategy.configure_evaluate(round_, arrays, config, self.grid),
            ["test"] if split == "test" else SPLITS,  # training is over by then
        )
        return dict(phase.strategy.aggregate_evaluate(round_, replies))

    def test(self, phase: Phase, **settings) -> tuple[dict[str, float], dict]:
        """Metrics of the best weights on the test split, and which sites they come from, or why not."""
        self.state.models[phase.model] = self.state.best[phase.model]
        with self._resumable(f"{phase.name}, test"):
            metrics = self._patiently(phase, partial(self.evaluate, phase, phase.rounds, "test", **settings))
        self.directory.save_sums(phase.name, phase.strategy.site_sums)
        return metrics, {"sites": list(phase.strategy.answered), "failures": dict(phase.strategy.failures)}

    def _patiently(self, phase: Phase, attempt: Callable[[], Answer]) -> Answer:
        """Attempt an exchange anew when sites that were too few have come back.

        Waits `sites-timeout` in all for those that are offline; TooFewSites when that is over, or when all
        are there and it has failed nevertheless.
        """
        deadline = math.inf
        while True:
            try:
                return attempt()
            except TooFewSitesError:
                deadline = min(deadline, time.monotonic() + self.config.sites_timeout)
                if not self._offline(phase) or time.monotonic() >= deadline:
                    raise
                while (gone := self._offline(phase)) and time.monotonic() < deadline:
                    print(f"waiting for {', '.join(gone)}", flush=True)
                    time.sleep(POLL_SECONDS)
                if len(phase.strategy.asked) - len(gone) < phase.strategy.min_sites:
                    raise

    def _offline(self, phase: Phase) -> list[str]:
        online = set(self.grid.get_node_ids())
        strategy = phase.strategy
        return [name for name in strategy.asked if strategy.roster.sites[name].node_id not in online]

    @contextmanager
    def _resumable(self, where: str) -> Iterator[None]:
        """Say of a RunError where it was and how to go on, and leave a report of what there is."""
        try:
            yield
        except RunError as error:
            print(write_closing_documents(self.directory.path), flush=True)
            raise RunError(
                f"{where}: {error}; when that is mended, go on with resume='{self.directory.path}'"
            ) from None

    def _exchange(
        self, phase: Phase, messages: Callable[[], list[Message]], splits: Sequence[str] = SPLITS
    ) -> list[Message]:
        """Send and wait; a site that lost what the phase needs is given it for `splits` and asked again."""
        timeout, site_of = self.config.round_timeout, phase.strategy.roster.site_of
        replies = send_and_receive(self.grid, messages(), timeout)
        lost = {site_of(r) for r in replies if r.has_error() and r.error.code == COMPLETIONS_MISSING}
        if lost and phase.restore:
            phase.restore(lost, splits)
            again = [m for m in messages() if m.metadata.group_id in lost]
            replies = [r for r in replies if site_of(r) not in lost]
            replies += send_and_receive(self.grid, again, timeout)
        return replies

    def _keep_if_best(self, model: str, round_: int, score: float) -> None:
        """Keep the weights of the lowest validation score; without validation windows, the latest."""
        best = self.state.scores.get(model, (math.inf, 0))[0]
        unknown = not math.isfinite(score) and math.isinf(best)
        if unknown or score < best:
            self.state.scores[model] = (math.inf if unknown else score, round_)
            self.state.best[model] = self.state.models[model]


def _told(phase: Phase, line: dict, left: float) -> str:
    """One line for the terminal."""
    answered, asked = len(line["site-seconds"]), line["sites-asked"]
    parts = [f"{phase.name:<12} round {line['round']:>2}/{line['rounds']}"]
    if phase.evaluated:
        shown = {k: v for k, v in line["metrics"].items() if k != "score"}
        parts += [f"loss {line['loss']:.4f}", *(f"{k} {v:.3f}" for k, v in shown.items())]
    parts += [f"{answered}/{asked} sites", f"{line['seconds']:.0f} s"]
    if left > 0:
        parts.append(f"about {_duration(left)} left in this phase")
    failed = "".join(f"\n  {name}: {why}" for name, why in line["failures"].items())
    return "  ".join(parts) + failed


def _duration(seconds: float) -> str:
    return f"{seconds:.0f} s" if seconds < 90 else f"{seconds / 60:.0f} min"
