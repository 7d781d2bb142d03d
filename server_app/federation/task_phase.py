"""Phase 2 under one method: windows completed once, then the task model."""

from __future__ import annotations

import torch

from condi_core.averaging import site_view
from condi_core.methods import METHODS
from condi_core.ownership import ownership, trainable
from condi_core.training import derive_seed
from condi_core.weights_file import hash_arrays
from server_app.artifacts import scores
from server_app.artifacts.run_directory import state_arrays
from server_app.artifacts.scores import PHASE_SUFFIX
from server_app.federation.client_sampling import site_sampler
from server_app.federation.completion import CompletionStep
from server_app.federation.differential_privacy import aggregator_for
from server_app.federation.roster import Roster
from server_app.federation.rounds import Phase, Run
from server_app.federation.strategy import ModalityFedAvg


def run_task_phase(run: Run, roster: Roster, method: str) -> tuple[dict[str, float], dict]:
    """Train and score a method's task model once on test windows; its metrics, and who answered."""
    config, schema, name, chosen = run.config.task, roster.schema, f"task-{method}", METHODS[method]
    torch.manual_seed(derive_seed(run.config.seed, "initial weights", "task"))
    model = chosen.model(schema, config)
    model.standardiser.fit(torch.from_numpy(roster.sums))
    initial = state_arrays(model)
    freeze = None
    if chosen.complete:
        imputer = run.state.best[f"imputer{PHASE_SUFFIX[chosen.scope]}"]
        freeze = CompletionStep(run, roster, method, imputer)
        relation = {key: a for key, a in imputer.items() if key.rpartition("/")[2] == "cross_modal.weight"}
        if chosen.imputer_training == "diffusion" and config.pair_width == run.config.imputer.pair_width:
            initial |= relation  # phase 2 starts from the W_cond of phase 1
    run.state.models.setdefault(name, initial)

    strategy = ModalityFedAvg(
        roster,
        "task",
        ownership(model),
        trainable(model),
        scores.task_evaluation(schema),
        min(run.config.min_sites, len(roster.sites)),
        aggregator_for(run.config.privacy, run.config.privacy.clip_task, chosen.combine),
        site_sampler(run.config),
        config.steps,
    )
    phase = Phase(
        name,
        name,
        strategy,
        config.rounds,
        config.learning_rate_for(method),
        settings={"method": method, "imputer": freeze.hash if freeze else ""},
        restore=freeze.complete if freeze else None,
    )
    run.carry_out(phase)
    metrics, answered = run.test(phase)

    def told(site: str) -> dict[str, str]:
        return {
            "schema": schema.model_dump_json(),
            "settings": config.model_dump_json(by_alias=True),
            "method": method,
            "imputer": hash_arrays(site_view(imputer, site)) if freeze else "",
        }

    run.directory.save_model(name, run.state.best[name], told, roster.sites)
    return metrics, answered
