"""Phase 1: the relation between modalities, then the diffusion model."""

from __future__ import annotations

import torch

from condi_core.averaging import Arrays, keep_separate
from condi_core.imputer.imputer import Imputer
from condi_core.ownership import ownership, trainable
from condi_core.training import derive_seed
from server_app.artifacts import scores
from server_app.artifacts.run_directory import state_arrays
from server_app.federation.client_sampling import site_sampler
from server_app.federation.differential_privacy import aggregator_for
from server_app.federation.roster import Roster
from server_app.federation.rounds import Phase, Run
from server_app.federation.strategy import ModalityFedAvg


def run_imputer_phase(
    run: Run, roster: Roster, scope: str = "federated", diffusion: bool = True
) -> tuple[dict, dict]:
    """Train an imputer and score it once on test windows; without `diffusion` the relation is all of it.

    `scope` is as in `Method`; the state's model is `imputer` and the suffix of that.
    """
    config, schema, name = run.config.imputer, roster.schema, f"imputer{scores.PHASE_SUFFIX[scope]}"
    torch.manual_seed(derive_seed(run.config.seed, "initial weights", "imputer"))
    model = Imputer(schema, config)
    model.standardiser.fit(torch.from_numpy(roster.sums))
    run.state.models.setdefault(name, state_arrays(model))
    owners, privacy = ownership(model), run.config.privacy
    quorum = min(run.config.min_sites, len(roster.sites))

    spectra = {name for name in owners if name.endswith(".spectrum")}
    kept = keep_separate if scope == "local" else None
    relation = ModalityFedAvg(roster, "relation", owners, spectra, scores.NO_EVALUATION, quorum, kept)
    # Spectra are so many numbers of such a size that noise would leave nothing of them.
    rounds = 0 if privacy.noise_multiplier else config.relation_rounds
    run.carry_out(Phase(f"relation{scores.PHASE_SUFFIX[scope]}", name, relation, rounds, evaluated=False))

    evaluation, average = (
        scores.imputation_evaluation(schema),
        kept or aggregator_for(privacy, privacy.clip_imputer),
    )
    turns, trained = site_sampler(run.config), trainable(model)
    strategy = ModalityFedAvg(
        roster, "imputer", owners, trained, evaluation, quorum, average, turns, config.steps
    )
    phase = Phase(name, name, strategy, config.rounds if diffusion else 0, config.learning_rate)
    run.carry_out(phase)
    run.state.best.setdefault(name, run.state.models[name])  # where no round was scored

    print(f"sites score the best {name} on their test windows", flush=True)
    samples = config.samples if diffusion and scope == "federated" else 0
    _, answered = run.test(phase, samples=samples)
    metadata = {"schema": schema.model_dump_json(), "settings": config.model_dump_json(by_alias=True)}
    run.directory.save_model(name, run.state.best[name], lambda site: metadata, roster.sites)
    sums = strategy.sums
    if not diffusion:  # what an untrained network says is of no use to anybody
        *by_site, sums = (_without_network(s) for s in (*strategy.site_sums.values(), sums))
        run.directory.save_sums(name, dict(zip(strategy.site_sums, by_site, strict=True)))
    return scores.imputation_rows(sums, schema), answered


def _without_network(sums: Arrays) -> Arrays:
    return {key: array for key, array in sums.items() if not key.endswith("/condi")}
