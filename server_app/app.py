"""The ServerApp. A run reads like the method: roster, phase 1, phase 2, evaluation, artefacts."""

from __future__ import annotations

import logging

from flwr.app import Context
from flwr.serverapp import Grid, ServerApp

from condi_core.config import ConfigError, RunConfig
from condi_core.run_files import RESULT_FILE, ROSTER_FILE, VERSIONS_FILE
from data_partitions import DataError
from data_partitions.federation import open_federation
from data_partitions.sources.demo import cached_demo, prepare_demo
from server_app.artifacts import scores
from server_app.artifacts.run_directory import RunDirectory, RunState, versions
from server_app.artifacts.scores import PHASE_SUFFIX
from server_app.artifacts.tensorboard import TensorBoardWriter
from server_app.errors import RunError, RunErrorFilter
from server_app.federation import secure_aggregation
from server_app.federation.client_sampling import num_sampled_sites
from server_app.federation.differential_privacy import privacy_budget
from server_app.federation.imputer_phase import run_imputer_phase
from server_app.federation.method_selection import rosters_by_scope, select_methods
from server_app.federation.roster import collect_roster
from server_app.federation.rounds import Run
from server_app.federation.task_phase import run_task_phase
from server_app.report.on_completion import write_closing_documents
from server_app.report.summary import summary_table

app = ServerApp()


@app.main()
def main(grid: Grid, context: Context) -> None:
    """Run a federation from the roster to the closing table."""
    logging.getLogger("flwr").addFilter(RunErrorFilter())
    try:
        coordinate(grid, RunConfig.from_flat(dict(context.run_config)))
    except (ConfigError, DataError, RunError, OSError) as error:
        raise RunError(str(error)) from None


def coordinate(grid: Grid, config: RunConfig) -> RunDirectory:
    methods = select_methods(config)
    directory, state = RunDirectory.resume(config) if config.resume else (None, RunState())
    if config.federation:
        open_federation(config.federation)
    before = directory.roster() if directory else {}
    roster, federation = collect_roster(grid, config, make_demo, expected=set(before))
    if config.secure_aggregation:
        secure_aggregation.require_secure_sites(roster)
    sites = rosters_by_scope(methods, roster)
    if (asked := num_sampled_sites(len(roster.sites), config.sites_per_round)) < config.min_sites:
        raise RunError(
            f"sites-per-round={config.sites_per_round:g} asks {asked} of {len(roster.sites)} sites, where "
            f"min-sites wants {config.min_sites} to answer: raise the one or lower the other"
        )
    print("\n".join(roster.lines()), flush=True)

    if directory is None:
        directory = RunDirectory.create(config, roster.schema.dataset)
        directory.write_json(ROSTER_FILE, roster.to_json())
    else:
        roster.check_unchanged(before)
    directory.write_json(VERSIONS_FILE, versions())
    print(f"artefacts in {directory.path}", flush=True)
    run = Run(grid, config, federation, directory, state, TensorBoardWriter(directory.path))

    result: dict[str, dict] = {"imputation": {}, "task": {}, "answered": {}}
    for scope, taking_part in sites.items():
        phases = {method.imputer_training for method in methods if method.scope == scope}
        if phases - {"none"}:
            rows, answered = run_imputer_phase(run, taking_part, scope, "diffusion" in phases)
            result["answered"][f"imputer{PHASE_SUFFIX[scope]}"] = answered
            scores.add_imputation(result["imputation"], rows, scope)
    for method in methods:
        name = method.name
        task_scores = run_task_phase(run, sites[method.scope], name)
        result["task"][name], result["answered"][f"task-{name}"] = task_scores

    if config.privacy.noise_multiplier:
        result["privacy"] = privacy_budget(config.privacy, state.noisy_releases)
    directory.write_json(RESULT_FILE, result)
    print(summary_table(result, roster.schema, config, directory.path), flush=True)
    run.events.close(state.history)
    print(write_closing_documents(directory.path), flush=True)
    return directory


def make_demo() -> str:
    """Path of the demo federation, made on first use in the user's cache folder."""
    path = cached_demo()
    if not path.exists():
        print(f"no federation given: making a demo of four hospitals in {path}", flush=True)
    prepare_demo(path)
    return str(path)
