"""How long a run takes, from the time of single operations and the number of windows of each site.

The terms are those of the phases of a run: sums, cross-spectrum, imputer, completion and task.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import NamedTuple

from condi_core.config import RunConfig
from condi_core.evaluation.catalogue import EVALUATED_MISSINGNESS
from condi_core.imputer.local_training import EPOCHS_PER_PREPARATION
from condi_core.imputer.relation_estimate import CANDIDATE_STEPS, MAX_WINDOWS
from condi_core.methods import METHODS, Method
from server_app.federation.client_sampling import num_sampled_sites

ENGINE_STARTS = 6  # starts of Python processes with their imports, one after the other, of a run's engine
EXCHANGE_SECONDS = 0.2  # that one message to one site takes beyond its work


class SiteWindows(NamedTuple):
    """Numbers of windows of a site."""

    train: float
    val: float
    test: float


@dataclass(frozen=True)
class OperationSeconds:
    """Durations of operations on this machine, in seconds.

    Attributes
    ----------
    start : starting a process that imports torch
    mask : reading a window and simulating its missingness
    relation : a step of EM on a window
    prepare : the closed-form estimate of a window
    point : the network's estimate of a window
    draw : one draw of a window
    imputer_step : an optimiser step of phase 1
    task_step : an optimiser step of phase 2, by method
    task_window : scoring a window, by method
    """

    start: float
    mask: float
    relation: float
    prepare: float
    point: float
    draw: float
    imputer_step: float
    task_step: Mapping[str, float]
    task_window: Mapping[str, float]

    @classmethod
    def mean(cls, timed: Sequence[OperationSeconds]) -> OperationSeconds:
        """Return the mean of several measurements."""

        def mean_by_method(numbers: Sequence[Mapping[str, float]]) -> dict[str, float]:
            return {method: fmean(part[method] for part in numbers) for method in numbers[0]}

        single = ("start", "mask", "relation", "prepare", "point", "draw", "imputer_step")
        return cls(
            **{name: fmean(getattr(operations, name) for operations in timed) for name in single},
            task_step=mean_by_method([operations.task_step for operations in timed]),
            task_window=mean_by_method([operations.task_window for operations in timed]),
        )


@dataclass(frozen=True)
class Workload:
    """One run: its settings, its methods, the windows of its sites, and how many sites compute at once."""

    config: RunConfig
    methods: Sequence[str]
    sites: Sequence[SiteWindows]
    workers: int
    operations: OperationSeconds

    def seconds(self, trains: bool = True) -> float:
        """Estimate the duration of the run; one that does not train only scores test windows."""
        specs = [METHODS[method] for method in self.methods]
        total = ENGINE_STARTS * self.operations.start
        total += self._exchange([self.operations.mask * site.train for site in self.sites])
        for scope in sorted({spec.scope for spec in specs if spec.imputer_training != "none"}):
            of_scope = [spec for spec in specs if spec.scope == scope]
            has_diffusion = any(spec.imputer_training == "diffusion" for spec in of_scope)
            total += self._imputer_seconds(scope, has_diffusion, trains)
        return total + sum(self._task_seconds(spec, trains) for spec in specs)

    def _imputer_seconds(self, scope: str, has_diffusion: bool, trains: bool) -> float:
        """Estimate phase 1: the relation, training with its validation, and the test."""
        ops, config = self.operations, self.config.imputer
        sites, num_sampled = self._participants(scope)
        scored = len(EVALUATED_MISSINGNESS) * (ops.mask + ops.prepare + ops.point)
        draws = config.samples if has_diffusion and scope == "federated" else 0
        drawn = len(EVALUATED_MISSINGNESS) * draws * ops.draw
        total = self._exchange([site.test * (scored + drawn) for site in sites])
        if not trains:
            return total
        em_rounds = max(0, config.relation_rounds - 1)  # the first round computes covariances, which is fast
        total += em_rounds * self._exchange([ops.relation * site.train for site in sites])
        if scope != "centralised":
            total += self._exchange([self._site_relation_seconds(site) for site in sites])
        if has_diffusion:
            batch = config.batch * (num_sampled if scope == "centralised" else 1)
            prepared = max(batch, config.steps * batch / EPOCHS_PER_PREPARATION)
            work = (
                prepared * (ops.mask + ops.prepare) + config.steps * ops.imputer_step * batch / config.batch
            )
            training = self._exchange([work] * (1 if scope == "centralised" else num_sampled))
            total += config.rounds * (training + self._exchange([site.val * scored for site in sites]))
        return total

    def _site_relation_seconds(self, site: SiteWindows) -> float:
        ops = self.operations
        steps = max(CANDIDATE_STEPS) * min(site.train, MAX_WINDOWS["train"]) * ops.relation
        scored = (1 + len(CANDIDATE_STEPS)) * len(EVALUATED_MISSINGNESS)  # also with the relation of all
        return steps + scored * min(site.val, MAX_WINDOWS["val"]) * (ops.mask + ops.prepare)

    def _task_seconds(self, spec: Method, trains: bool) -> float:
        """Estimate phase 2 of a method: completion, training with its validation, and the test."""
        ops, config = self.operations, self.config.task
        sites, num_sampled = self._participants(spec.scope)
        draws, total = 1, 0.0
        if spec.complete:
            draws = max(config.completions, 1)
            completed = ops.mask + ops.prepare
            if spec.imputer_training == "diffusion":
                completed += ops.point + config.completions * ops.draw
            windows = [sum(site) if trains else site.test for site in sites]
            total += self._exchange([number * completed for number in windows])
        scored = draws * ops.task_window[spec.name]
        total += self._exchange([site.test * scored for site in sites])
        if trains:
            larger = num_sampled if spec.scope == "centralised" else 1
            work = config.steps * ops.task_step[spec.name] * larger
            training = self._exchange([work] * (1 if spec.scope == "centralised" else num_sampled))
            total += config.rounds * (training + self._exchange([site.val * scored for site in sites]))
        return total

    def _participants(self, scope: str) -> tuple[list[SiteWindows], int]:
        """Return the sites that are asked, and how many are sampled in a round; a pool is one site."""
        num_sampled = num_sampled_sites(len(self.sites), self.config.sites_per_round)
        if scope == "centralised":
            return [SiteWindows(*(sum(numbers) for numbers in zip(*self.sites, strict=True)))], num_sampled
        return list(self.sites), num_sampled

    def _exchange(self, work: Sequence[float]) -> float:
        """Return how long sites take for their work, of which `workers` compute at once."""
        each = [seconds + EXCHANGE_SECONDS for seconds in work]
        return max(max(each), sum(each) / self.workers)
