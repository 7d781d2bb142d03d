"""The ServerApp. A run reads like the method: roster, phase 1, phase 2, evaluation, artefacts."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from contextlib import ExitStack

from flwr.app import Context
from flwr.serverapp import Grid, ServerApp

from condi_core.config import ConfigError, RunConfig
from condi_core.methods import PLUGIN_PROBLEMS, PLUGINS, Method
from condi_core.run_files import RESULT_FILE, ROSTER_FILE, VERSIONS_FILE
from data_partitions import DataError
from data_partitions.federation import open_federation
from data_partitions.sources.demo import cached_demo, prepare_demo
from server_app.artifacts import scores
from server_app.artifacts.mlflow_tracking import require_tracker
from server_app.artifacts.run_directory import RunDirectory, RunState, output_folder, versions
from server_app.artifacts.run_progress import RunProgress
from server_app.artifacts.scores import PHASE_SUFFIX
from server_app.artifacts.tracking import Tracking
from server_app.compared_methods import select_methods
from server_app.errors import RunError, RunErrorFilter, printable
from server_app.federation.differential_privacy import privacy_budget
from server_app.federation.imputer_phase import run_imputer_phase
from server_app.federation.joining_sites import SitesJoin, admit_sites, forget_requests, refuse_late_requests
from server_app.federation.method_selection import methods_for_data, rosters_by_scope
from server_app.federation.observed_grid import ObservedGrid
from server_app.federation.roster import Roster
from server_app.federation.roster_collection import collect_roster
from server_app.federation.rounds import Run
from server_app.federation.secure_aggregation import notes_on_withheld
from server_app.federation.site_counts import check_number_of_sites
from server_app.federation.task_phase import run_task_phase
from server_app.operations.end_command import require_program, run_end_command
from server_app.operations.run_queue import wait_for_turn
from server_app.report.on_completion import write_closing_documents
from server_app.report.summary import summary_table
from server_app.settings import validate_settings

app = ServerApp()


@app.main()
def main(grid: Grid, context: Context) -> None:
    """Run a federation from the roster to the closing table."""
    logging.getLogger("flwr").addFilter(RunErrorFilter())
    try:
        coordinate(grid, validate_settings(context.run_config))
    except (ConfigError, DataError, RunError, OSError) as error:
        raise RunError(str(error)) from None


def coordinate(grid: Grid, config: RunConfig) -> RunDirectory:
    """Start or resume a run, and complete it.

    Parameters
    ----------
    grid : Grid
        Connection to the sites' nodes.
    config : RunConfig
        Settings of the run.

    Returns
    -------
    RunDirectory
        The directory with the results of the run.

    Raises
    ------
    ConfigError, DataError, RunError
        The run cannot start or continue. Once it has started, the run directory has a report of the rounds
        that were completed.
    """
    require_program(config.on_end)
    require_tracker(config.track)
    progress = RunProgress()
    try:
        with ExitStack() as lock:
            directory = _coordinate(ObservedGrid(grid, progress), config, lock, progress)
    except BaseException as error:
        status = "failed" if isinstance(error, Exception) else "stopped"
        _announce_end(config, progress, status, printable(str(error) or type(error).__name__))
        raise
    _announce_end(config, progress, "completed")
    return directory


def _announce_end(config: RunConfig, progress: RunProgress, status: str, reason: str = "") -> None:
    progress.end(status, reason)
    run_end_command(config.on_end, status=status, reason=reason, directory=progress.directory)


def _coordinate(grid: Grid, config: RunConfig, lock: ExitStack, progress: RunProgress) -> RunDirectory:
    """Do as `coordinate`; the lock is that of the run directory."""
    methods = select_methods(config)
    plugins = [PLUGINS[name] for name in config.methods if name in PLUGINS]
    for sentence in PLUGIN_PROBLEMS.values():
        print(f"note: {sentence}", flush=True)
    for plugin in plugins:
        print(f"note: the method {plugin.name} is that of the package {plugin.source}", flush=True)
    directory = lock.enter_context(RunDirectory.resume(config)) if config.resume else None
    state = directory.load() if directory else RunState()
    if config.federation:
        open_federation(config.federation)
    if config.queue:
        lock.enter_context(wait_for_turn(output_folder(config), grid.get_node_ids))
    before = directory.roster() if directory else {}
    roster, federation = collect_roster(grid, config, make_demo, before)
    check_number_of_sites(config, roster)
    methods = methods_for_data(methods, roster, config)
    rosters_by_scope(methods, roster)  # raises before there is a run directory
    notes = notes_on_withheld(roster) if config.secure_aggregation else []
    print("\n".join([*roster.lines(), *notes]), flush=True)

    if directory is None:
        directory = lock.enter_context(RunDirectory.create(config, roster.schema.dataset))
        directory.write_json(ROSTER_FILE, roster.to_json())
    elif joined := sorted(roster.sites.keys() - before.keys()):
        directory.write_json(ROSTER_FILE, roster.to_json() | before)
        print(f"from the next round on with {', '.join(joined)}", flush=True)
    progress.note_excluded(roster.excluded)
    progress.write_to(directory.path)
    directory.write_json(VERSIONS_FILE, versions() | {plugin.package: plugin.version for plugin in plugins})
    directory.write_description(next(iter(roster.sites.values())).manifest)
    print(f"artefacts in {directory.path}", flush=True)
    run = Run(grid, config, federation, directory, state, Tracking(config, directory.path))
    try:
        result = _complete_phases(run, methods, roster, progress)
    except RunError:
        print(write_closing_documents(directory.path), flush=True)
        run.tracking.fail(state.history)
        raise
    directory.write_json(RESULT_FILE, result)
    print(summary_table(result, roster.schema, config, directory.path), flush=True)
    print(write_closing_documents(directory.path), flush=True)
    run.tracking.complete(state.history, result)
    return directory


def _complete_phases(
    run: Run, methods: Sequence[Method], roster: Roster, progress: RunProgress
) -> dict[str, dict]:
    """Run both phases, with the sites that join on the way; return what result.json holds."""
    while True:
        try:
            result = _run_phases(run, methods, rosters_by_scope(methods, roster))
            refuse_late_requests(run.directory.path)
            return result
        except SitesJoin as request:
            roster = admit_sites(run.grid, run.config, roster, request.names)
            run.directory.write_json(ROSTER_FILE, roster.to_json())
            progress.note_excluded(roster.excluded)
            forget_requests(run.directory.path, request.names)


def _run_phases(run: Run, methods: Sequence[Method], rosters: dict[str, Roster]) -> dict[str, dict]:
    """Run both phases of all methods; return what result.json holds."""
    result: dict[str, dict] = {"imputation": {}, "task": {}, "subgroups": {}, "answered": {}}
    for scope, roster in rosters.items():
        phases = {method.imputer_training for method in methods if method.scope == scope}
        if phases - {"none"}:
            rows, answers = run_imputer_phase(run, roster, scope, "diffusion" in phases)
            result["answered"][f"imputer{PHASE_SUFFIX[scope]}"] = answers
            scores.add_imputation(result["imputation"], rows, scope)
    for method in methods if rosters["federated"].schema.labels else ():
        tested = run_task_phase(run, rosters[method.scope], method.name)
        result["task"][method.name], result["subgroups"][method.name] = tested.metrics, tested.subgroups
        result["answered"][f"task-{method.name}"] = tested.answers
    if run.config.privacy.noise_multiplier:
        result["privacy"] = privacy_budget(run.config.privacy, run.state.noisy_releases)
    if epsilon := run.config.privacy.patient_epsilon:
        result["patient-privacy"] = {"epsilon": epsilon, "delta": run.config.privacy.delta}
    return result


def make_demo() -> str:
    """Make the demo federation in the user's cache folder, unless it is there; return its path."""
    path = cached_demo()
    if not path.exists():
        print(f"no federation is set: generating a demo of four hospitals in {path}", flush=True)
    prepare_demo(path)
    return str(path)
