"""The ServerApp. A run reads like the method: roster, phase 1, phase 2, evaluation, artefacts."""

from __future__ import annotations

import json
import logging

from flwr.app import Context
from flwr.serverapp import Grid, ServerApp

from condi_core.config import ConfigError, RunConfig
from data_partitions import DataError
from data_partitions.federation import open_federation
from data_partitions.sources.demo import cached_demo, prepare_demo
from server_app.artifacts import scores
from server_app.artifacts.run_directory import RunDirectory, RunState, versions
from server_app.artifacts.scores import SUFFIX
from server_app.artifacts.tensorboard import Events
from server_app.errors import OneSentence, RunError
from server_app.federation import secure_aggregation
from server_app.federation.client_sampling import asked_in
from server_app.federation.differential_privacy import spent
from server_app.federation.imputer_phase import impute
from server_app.federation.method_selection import chosen, rosters
from server_app.federation.roster import gather
from server_app.federation.rounds import Run
from server_app.federation.task_phase import classify
from server_app.report.on_completion import leave
from server_app.report.summary import closing

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
    methods = chosen(config)
    directory, state = RunDirectory.resume(config) if config.resume else (None, RunState())
    if config.federation:
        open_federation(config.federation)
    before = directory.roster() if directory else {}
    roster, federation = gather(grid, config, make_demo, expected=set(before))
    if config.secure_aggregation:
        secure_aggregation.check(roster)
    sites = rosters(methods, roster)
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
    directory.write("versions.json", json.dumps(versions(), indent=1))
    print(f"artefacts in {directory.path}", flush=True)
    run = Run(grid, config, federation, directory, state, Events(directory.path))

    result: dict[str, dict] = {"imputation": {}, "task": {}, "answered": {}}
    for who, taking_part in sites.items():
        phases = {method.phase1 for method in methods if method.sites == who}
        if phases - {"nothing"}:
            rows, answered = impute(run, taking_part, who, "diffusion" in phases)
            result["answered"][f"imputer{SUFFIX[who]}"] = answered
            scores.add_imputation(result["imputation"], rows, who)
    for method in methods:
        name = method.name
        task_scores = classify(run, sites[method.sites], name)
        result["task"][name], result["answered"][f"task-{name}"] = task_scores

    if config.privacy.noise_multiplier:
        result["privacy"] = spent(config.privacy, state.released)
    directory.write("result.json", json.dumps(result, indent=1))
    print(closing(result, roster.schema, config, directory.path), flush=True)
    run.events.close(state.history)
    print(leave(directory.path), flush=True)
    return directory


def make_demo() -> str:
    """Path of the demo federation, made on first use in the user's cache folder."""
    path = cached_demo()
    if not path.exists():
        print(f"no federation given: making a demo of four hospitals in {path}", flush=True)
    prepare_demo(path)
    return str(path)
