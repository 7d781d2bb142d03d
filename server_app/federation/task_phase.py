"""Phase 2 under one method: windows are completed once, then the task model is trained."""

from __future__ import annotations

from typing import NamedTuple

import torch

from condi_core.averaging import Arrays, site_view
from condi_core.methods import configure_method, describe_origin
from condi_core.ownership import ownership, trainable
from condi_core.protocol import sends_replicates
from condi_core.training import derive_seed
from condi_core.weights_file import hash_arrays, state_arrays
from server_app.artifacts import scores
from server_app.artifacts.scores import PHASE_SUFFIX
from server_app.federation.aggregation import choose_aggregator
from server_app.federation.client_sampling import evaluator_sampler, site_sampler
from server_app.federation.completion import CompletionStep
from server_app.federation.roster import Roster
from server_app.federation.rounds import Phase, Run
from server_app.federation.strategy import ModalityFedAvg


class TaskResult(NamedTuple):
    """Test results of a task model.

    `metrics` are those of all test windows, `subgroups` is `{covariate: {subgroup: metrics}}`, and `answers`
    says which sites answered.
    """

    metrics: dict[str, float]
    subgroups: dict[str, dict[str, dict[str, float]]]
    answers: dict[str, object]


def run_task_phase(run: Run, roster: Roster, method_name: str) -> TaskResult:
    """Train a method's task model and score it once on test windows.

    Parameters
    ----------
    run : Run
        The run; its state gets the model `task-<method>`.
    roster : Roster
        Sites of the run; those without labels for training take no part.
    method_name : str
        Name of the method.
    """
    config, schema, name = run.config.task, roster.schema, f"task-{method_name}"
    method = configure_method(method_name, run.config)
    torch.manual_seed(derive_seed(run.config.seed, "initial weights", "task"))
    model = method.model(schema, config)
    model.standardiser.fit(torch.from_numpy(roster.sums))
    roster = roster.labelled_sites()
    if model.label_standardiser is not None:
        model.label_standardiser.fit(torch.from_numpy(roster.label_sums))
    if model.covariate_head is not None:
        model.covariate_head.fit(torch.from_numpy(roster.covariate_sums))
    initial = state_arrays(model)
    completion = None
    if method.complete:
        imputer = run.state.best[f"imputer{PHASE_SUFFIX[method.scope]}"]
        completion = CompletionStep(run, roster, method_name, imputer)
        if method.imputer_training == "diffusion" and config.pair_width == run.config.imputer.pair_width:
            initial |= _cross_modal_weights(imputer)  # phase 2 starts from the W_cond of phase 1
    run.state.models.setdefault(name, initial)

    privacy = run.config.privacy
    strategy = ModalityFedAvg(
        roster,
        "task",
        ownership(model),
        returned=trainable(model),
        evaluation=scores.task_evaluation(schema, sends_replicates(run.config)),
        min_sites=min(run.config.min_sites, len(roster.sites)),
        aggregate=method.combine
        if method.scope == "local"
        else choose_aggregator(run.config, len(roster.sites), privacy.clip_task, method.combine),
        sampler=site_sampler(run.config),
        evaluator_sampler=evaluator_sampler(run.config),
        half=run.config.transport == "float16",
        max_steps=config.steps,
        max_window_ratio=run.config.max_window_ratio,
    )
    phase = Phase(
        name,
        name,
        strategy,
        config.rounds,
        config.learning_rate_for(method_name),
        settings={"method": method_name, "imputer": completion.hash if completion else ""},
        restore=completion.complete if completion else None,
    )
    run.run_phase(phase)
    outcome = run.test(phase)

    origin = describe_origin(method_name, run.config)

    def metadata_for(site: str) -> dict[str, str]:
        return {
            "schema": schema.model_dump_json(),
            "settings": config.model_dump_json(by_alias=True),
            "method": method_name,
            "imputer": hash_arrays(site_view(completion.imputer, site)) if completion else "",
            **origin,
        }

    run.directory.save_model(name, run.state.best[name], metadata_for, roster.sites)
    subgroups = scores.subgroup_rows(outcome.sums, schema)
    return TaskResult(outcome.metrics, subgroups, outcome.exchange.answers())


def _cross_modal_weights(imputer: Arrays) -> Arrays:
    """Return the weights between modalities, of all sites and of single ones."""
    return {key: array for key, array in imputer.items() if key.rpartition("/")[2] == "cross_modal.weight"}
