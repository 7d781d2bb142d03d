"""Let sites join a run that is under way, from its next round on."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from flwr.serverapp import Grid

from condi_core.config import RunConfig
from condi_core.run_files import RunFileError
from server_app.artifacts.participation import change_joining, read_joining
from server_app.errors import RunError
from server_app.federation.roll_call import RollCall, compatible_sites
from server_app.federation.roster import Roster
from server_app.federation.roster_collection import joining_obstacle
from server_app.federation.site_counts import check_number_of_sites


class SitesJoin(Exception):  # noqa: N818  # nothing is wrong
    """The operator wants sites to join the run, before its next round."""

    def __init__(self, names: Sequence[str]) -> None:
        super().__init__(*names)
        self.names = list(names)


def stop_if_sites_join(run: Path) -> None:
    """Raise SitesJoin when the operator wants sites to join; a damaged file is noted, and nobody joins.

    Parameters
    ----------
    run : Path
        The run directory.
    """
    try:
        if names := read_joining(run):
            raise SitesJoin(sorted(names))
    except RunFileError as error:
        print(f"note: {error}: no site joins", flush=True)


def admit_sites(grid: Grid, config: RunConfig, roster: Roster, names: Sequence[str]) -> Roster:
    """Ask sites to describe themselves, and add those that fit the others to the roster.

    Whatever is wrong with one of them, the run goes on without it.

    Parameters
    ----------
    grid : Grid
        Connection to the nodes.
    config : RunConfig
        Settings of the run.
    roster : Roster
        Sites of the run.
    names : sequence of str
        Sites that are to join.

    Returns
    -------
    Roster
        All sites, with the reasons of those that cannot join among the excluded ones.
    """
    names = [name for name in names if name not in roster.sites]
    problems = dict.fromkeys(names, "it is not connected")
    joining = {}
    try:
        if obstacle := joining_obstacle(config):
            raise RunError(f"no site can join a run {obstacle}")
        roll_call = RollCall(grid, config, set(names))
        roll_call.ask_new_nodes()
        roll_call.candidates |= roster.sites
        answers = compatible_sites(roll_call, next(iter(roster.sites.values())).manifest)
        roll_call.notify_excluded(answers)
        fitting = {name: answers.sites[name] for name in names if name in answers.sites}
        problems |= {name: answers.excluded[name] for name in names if name in answers.excluded}
        check_number_of_sites(config, Roster({**roster.sites, **fitting}))
        joining = fitting
    except RunError as error:
        problems = dict.fromkeys(names, str(error))
    for name in joining:
        del problems[name]
        print(f"from the next round on with {name}", flush=True)
    for name, reason in problems.items():
        print(f"cannot join: {name}: {reason}", flush=True)
    excluded = {name: why for name, why in roster.excluded.items() if name not in joining} | problems
    return Roster(dict(sorted({**roster.sites, **joining}.items())), excluded, roster.virtual)


def forget_requests(run: Path, names: Sequence[str]) -> None:
    """Remove sites from those that are to join: they have been asked."""
    change_joining(run, removed=names)


def refuse_late_requests(run: Path) -> None:
    """Say of sites that were to join after the last round had begun that they cannot."""
    try:
        names = read_joining(run)
    except RunFileError:
        return  # noted in the last round
    for name in sorted(names):
        print(f"cannot join: {name}: the run has no round left", flush=True)
    if names:
        forget_requests(run, sorted(names))
