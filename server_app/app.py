"""The ServerApp. A run reads like the method: roster, phase 1, phase 2, evaluation, artefacts."""

from __future__ import annotations

import json
import logging
from functools import partial

import numpy as np
import platformdirs
import torch
from flwr.app import Context
from flwr.serverapp import Grid, ServerApp

from condi_core.config import ConfigError, RunConfig
from condi_core.imputer.imputer import Imputer
from condi_core.methods import METHODS
from condi_core.ownership import ownership, trainable
from condi_core.task.model import TaskModel
from condi_core.training import seed_of
from data_partitions import DataError
from data_partitions.federation import open_federation
from data_partitions.sources.demo import GENERATOR, prepare_demo
from server_app import secure, tables
from server_app.artifacts import Arrays, RunDirectory, RunState
from server_app.errors import OneSentence, RunError
from server_app.freeze import Freeze
from server_app.phases import Phase, Run
from server_app.privacy import combine, spent
from server_app.roster import Roster, gather
from server_app.strategy import ModalityFedAvg
from server_app.turns import asked_in, taking_turns

app = ServerApp()


@app.main()
def main(grid: Grid, context: Context) -> None:
    """Run a federation from the roster to the closing table."""
    logging.getLogger("flwr").addFilter(OneSentence())
    try:
        coordinate(grid, RunConfig.from_flat(dict(context.run_config)))
    except (ConfigError, DataError, RunError, OSError) as error:
        raise RunError(str(error)) from None


def coordinate(grid: Grid, config: RunConfig) -> RunDirectory:
    methods = _methods(config)
    directory, state = RunDirectory.resume(config) if config.resume else (None, RunState())
    if config.federation:
        open_federation(config.federation)
    before = directory.roster() if directory else {}
    roster, federation = gather(grid, config, make_demo, expected=set(before))
    if config.secure_aggregation:
        secure.check(roster)
    if (asked := asked_in(len(roster.sites), config.sites_per_round)) < config.min_sites:
        raise RunError(
            f"sites-per-round={config.sites_per_round:g} asks {asked} of {len(roster.sites)} sites, where "
            f"min-sites wants {config.min_sites} to answer: raise the one or lower the other"
        )
    print("\n".join(roster.lines()), flush=True)

    if directory is None:
        directory = RunDirectory.create(config, roster.schema.dataset)
        directory.write("roster.json", json.dumps(roster.to_json(), indent=1))
    else:
        roster.check_unchanged(before)
    print(f"artefacts in {directory.path}", flush=True)
    run = Run(grid, config, federation, directory, state)

    result: dict[str, dict] = {"imputation": {}, "task": {}, "answered": {}}
    if any(METHODS[m].fill for m in methods):
        result["imputation"], result["answered"]["imputer"] = impute(run, roster)
    for method in methods:
        result["task"][method], result["answered"][f"task-{method}"] = classify(run, roster, method)

    if config.privacy.noise_multiplier:
        result["privacy"] = spent(config.privacy, state.released)
    directory.write("result.json", json.dumps(result, indent=1))
    print(tables.closing(result, roster.schema, config, directory.path), flush=True)
    return directory


def impute(run: Run, roster: Roster) -> tuple[dict, dict]:
    """Phase 1: the relation between modalities, then the diffusion model; scored once on test windows."""
    config, schema = run.config.imputer, roster.schema
    torch.manual_seed(seed_of(run.config.seed, "initial weights", "imputer"))
    model = Imputer(schema, config)
    model.standardiser.fit(torch.from_numpy(roster.sums))
    run.state.models.setdefault("imputer", state_of(model))
    owners, quorum, privacy = ownership(model), run.config.min_sites, run.config.privacy

    spectra = {name for name in owners if name.endswith(".spectrum")}
    relation = ModalityFedAvg(roster, "relation", owners, spectra, tables.NOTHING, quorum)
    # Spectra are so many numbers of such a size that noise would leave nothing of them.
    rounds = 0 if privacy.noise_multiplier else config.relation_rounds
    run.carry_out(Phase("relation", "imputer", relation, rounds, evaluated=False))

    evaluation, average = tables.imputation(schema), combine(privacy, privacy.clip_imputer)
    strategy = ModalityFedAvg(
        roster, "imputer", owners, trainable(model), evaluation, quorum, average, _turns(run.config)
    )
    phase = Phase("imputer", "imputer", strategy, config.rounds, config.learning_rate)
    run.carry_out(phase)

    print("sites score the best imputer on their test windows", flush=True)
    _, answered = run.test(phase, samples=config.samples)
    metadata = {"schema": schema.model_dump_json(), "settings": config.model_dump_json(by_alias=True)}
    run.directory.save_model("imputer", run.state.best["imputer"], metadata)
    return tables.imputation_rows(strategy.sums, schema), answered


def classify(run: Run, roster: Roster, method: str) -> tuple[dict[str, float], dict]:
    """Phase 2 under one method: windows completed once, then the task model; scored once on test windows."""
    config, schema, name = run.config.task, roster.schema, f"task-{method}"
    torch.manual_seed(seed_of(run.config.seed, "initial weights", "task"))
    model = TaskModel(schema, config)
    model.standardiser.fit(torch.from_numpy(roster.sums))
    initial = state_of(model)
    freeze = None
    if METHODS[method].fill:
        imputer = run.state.best["imputer"]
        freeze = Freeze(run, roster, method, imputer)
        relation = imputer["cross_modal.weight"]
        if relation.shape == initial["cross_modal.weight"].shape:
            initial["cross_modal.weight"] = relation  # phase 2 starts from the W_cond of phase 1
    run.state.models.setdefault(name, initial)

    strategy = ModalityFedAvg(
        roster,
        "task",
        ownership(model),
        trainable(model),
        tables.task(schema),
        run.config.min_sites,
        combine(run.config.privacy, run.config.privacy.clip_task),
        _turns(run.config),
    )
    phase = Phase(
        name,
        name,
        strategy,
        config.rounds,
        config.rate_of(method),
        settings={"method": method, "imputer": freeze.hash if freeze else ""},
        restore=freeze.complete if freeze else None,
    )
    run.carry_out(phase)
    metrics, answered = run.test(phase)
    metadata = {
        "schema": schema.model_dump_json(),
        "settings": config.model_dump_json(by_alias=True),
        "method": method,
        "imputer": freeze.hash if freeze else "",
    }
    run.directory.save_model(name, run.state.best[name], metadata)
    return metrics, answered


def _turns(config: RunConfig) -> partial:
    return partial(taking_turns, share=config.sites_per_round, seed=config.seed)


def make_demo() -> str:
    """Path of the demo federation, made on first use in the user's cache folder."""
    path = platformdirs.user_cache_path("condi") / f"demo-{GENERATOR}"
    if not path.exists():
        print(f"no federation given: making a demo of four hospitals in {path}", flush=True)
    prepare_demo(path)
    return str(path)


def state_of(model: torch.nn.Module) -> Arrays:
    return {name: np.array(t.detach().numpy()) for name, t in model.state_dict().items()}


def _methods(config: RunConfig) -> list[str]:
    methods = [config.method] + ([config.beside] if config.beside not in ("", config.method) else [])
    for name in methods:
        if name not in METHODS:
            raise ConfigError(f"unknown method '{name}': choose one of {', '.join(METHODS)}")
    return methods
