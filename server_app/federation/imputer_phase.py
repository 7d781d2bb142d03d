"""Phase 1: the relation between modalities, then the diffusion model."""

from __future__ import annotations

from functools import partial

import torch

from condi_core.averaging import Arrays, keep_separate
from condi_core.config import RunConfig
from condi_core.imputer.imputer import DiffusionImputer
from condi_core.methods import describe_origin, find_trained_imputer, make_imputer
from condi_core.ownership import ownership, trainable
from condi_core.privacy.relation import floor_at_noise
from condi_core.protocol import sends_replicates
from condi_core.training import derive_seed
from condi_core.weights_file import state_arrays
from server_app.artifacts import scores
from server_app.federation.aggregation import choose_aggregator
from server_app.federation.client_sampling import evaluator_sampler, site_sampler
from server_app.federation.roster import Roster
from server_app.federation.rounds import Phase, Run
from server_app.federation.spectra import check_spectra
from server_app.federation.strategy import ModalityFedAvg


def run_imputer_phase(
    run: Run, roster: Roster, scope: str = "federated", diffusion: bool = True
) -> tuple[dict, dict]:
    """Train an imputer and score it once on test windows.

    Parameters
    ----------
    run : Run
        The run; its state gets the model `imputer`, with the suffix of `scope`.
    roster : Roster
        Sites that train.
    scope : str
        Which sites train together, as in `Method`.
    diffusion : bool
        Whether the diffusion model is trained, or only the relation.

    Returns
    -------
    tuple of dict and dict
        Test scores of the imputer, as rows of the result, and which sites answered.
    """
    config, schema, name = run.config.imputer, roster.schema, f"imputer{scores.PHASE_SUFFIX[scope]}"
    torch.manual_seed(derive_seed(run.config.seed, "initial weights", "imputer"))
    model = make_imputer(schema, run.config)
    model.standardiser.fit(torch.from_numpy(roster.sums))
    run.state.models.setdefault(name, state_arrays(model))
    owners, privacy = ownership(model), run.config.privacy
    min_sites = min(run.config.min_sites, len(roster.sites))
    choose = partial(choose_aggregator, run.config, len(roster.sites))

    relation = ModalityFedAvg(
        roster,
        "relation",
        owners,
        returned={key for key in owners if key.endswith(".spectrum")},
        evaluation=scores.NO_EVALUATION,
        min_sites=min_sites,
        aggregate=keep_separate if scope == "local" else choose(None, reestimates=True),
        max_window_ratio=run.config.max_window_ratio,
        counts_samples=True,
        check_arrays=check_spectra,
    )
    # Spectra have so many and such large entries that noise would make them useless.
    relation_rounds = 0 if privacy.noise_multiplier else config.relation_rounds
    if privacy.patient_epsilon:  # each round would spend as much of the patients' privacy again
        relation_rounds = min(1, relation_rounds)
    relation_name = f"relation{scores.PHASE_SUFFIX[scope]}"
    run.run_phase(Phase(relation_name, name, relation, relation_rounds, evaluated=False))
    if privacy.patient_epsilon and not run.state.done.get(name):  # a resumed run has done it
        state = run.state.models[name]
        spectra = {key: floor_at_noise(array) for key, array in state.items() if key.endswith(".spectrum")}
        run.state.models[name] = state | spectra

    strategy = ModalityFedAvg(
        roster,
        "imputer",
        owners,
        returned=trainable(model),
        evaluation=scores.imputation_evaluation(schema, sends_replicates(run.config)),
        min_sites=min_sites,
        aggregate=keep_separate if scope == "local" else choose(privacy.clip_imputer),
        sampler=site_sampler(run.config),
        evaluator_sampler=evaluator_sampler(run.config),
        half=run.config.transport == "float16",
        max_steps=config.steps,
        max_window_ratio=run.config.max_window_ratio,
    )
    phase = Phase(name, name, strategy, config.rounds if diffusion else 0, config.learning_rate)
    run.run_phase(phase)
    run.state.best.setdefault(name, run.state.models[name])  # where no round was scored

    print(f"sites score the best {name} on their test windows", flush=True)
    outcome = run.test(phase, samples=config.samples if diffusion and scope == "federated" else 0)
    metadata = {"schema": schema.model_dump_json(), "settings": config.model_dump_json(by_alias=True)}
    method = _own_imputer(run.config)
    if method:
        metadata |= {"method": method, **describe_origin(method, run.config)}
    run.directory.save_model(name, run.state.best[name], lambda site: metadata, roster.sites)
    sums = outcome.sums
    if not diffusion:  # scores of an untrained network are of no use
        sums = _without_network(sums)
        site_sums = {site: _without_network(added) for site, added in outcome.site_sums.items()}
        run.directory.save_sums(name, site_sums)
    rows = scores.imputation_rows(sums, schema)
    return scores.name_network(rows, method if scope == "federated" else ""), outcome.exchange.answers()


def _own_imputer(config: RunConfig) -> str:
    """Return the name of the method with an imputer of its own that the run trains; empty for CondI's."""
    method = find_trained_imputer(config)
    return method.name if method is not None and method.imputer is not DiffusionImputer else ""


def _without_network(sums: Arrays) -> Arrays:
    return {key: array for key, array in sums.items() if not key.endswith("/condi")}
