"""Find the sites of a run: wait until enough of them are connected, fit together, and no more come."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping

from flwr.serverapp import Grid

from condi_core.config import RunConfig
from condi_core.methods import METHODS
from server_app.errors import RunError
from server_app.federation.messaging import POLL_SECONDS
from server_app.federation.roll_call import RollCall, compatible_sites
from server_app.federation.roster import Roster

NOTICE_SECONDS = 30.0  # that a run which cannot start waits until excluded sites know why


def collect_roster(
    grid: Grid, config: RunConfig, make_demo: Callable[[], str], before: Mapping[str, dict] | None = None
) -> tuple[Roster, str]:
    """Ask every node what it has, until the sites of the run are known.

    Waits for `min-sites` sites and until no more connect, and for all sites that `sites` names; then these
    alone take part. A resumed run waits for the sites of its start, or for those that `sites` names, of which
    new ones join it.

    Parameters
    ----------
    grid : Grid
        Connection to the nodes.
    config : RunConfig
        Settings of the run.
    make_demo : callable
        Makes the demo federation and returns its path, when virtual nodes were given no federation.
    before : mapping of str to dict, optional
        What roster.json holds of a run to resume.

    Returns
    -------
    tuple of Roster and str
        The roster, and the path of the federation.

    Raises
    ------
    RunError
        Too few sites connect in time, or they do not fit together.
    """
    named = _sites_to_resume(config, before) if before else set(config.named_sites)
    roll_call = RollCall(grid, config, named)
    deadline = time.monotonic() + config.sites_timeout
    while True:
        is_settled, is_over = not roll_call.ask_new_nodes(), time.monotonic() > deadline
        if roll_call.wants_federation:
            roll_call = RollCall(grid, config, named, make_demo())
            continue
        roster = compatible_sites(roll_call)
        enough = len(roster.sites) >= config.min_sites
        missing = sorted(named - roster.sites.keys())
        is_settled |= roll_call.virtual  # a simulation has all its nodes from the start
        if enough and not missing and (is_settled or is_over):
            break
        if missing and roll_call.virtual and missing[0] in roster.excluded:
            raise RunError(f"the federation cannot start: site {missing[0]}: {roster.excluded[missing[0]]}")
        if missing and roll_call.virtual:
            raise RunError(
                f"the federation has no site {', '.join(missing)}: "
                f"it has {', '.join(sorted(roll_call.names))}"
            )
        if is_settled and roll_call.is_refused_by_all:
            raise RunError(f"the policy of every connected site refuses the run{_excluded_sites(roster)}")
        roll_call.print_new_problems(roster)
        if is_over or roll_call.virtual:
            roll_call.notify_excluded(roster, NOTICE_SECONDS)
            raise RunError(_too_few_message(config, roster, missing, roll_call.virtual, bool(before)))
        not_connected = f", not connected yet: {', '.join(missing)}" if missing else ""
        print(f"waiting for sites: {len(roster.sites)} so far{not_connected}", flush=True)
        time.sleep(min(POLL_SECONDS, config.sites_timeout))
    if before:
        roster = roster.resumed_from(before)
    counts = zip(roster.schema.names, roster.sums[:, 0], strict=True)
    if unobserved := [name for name, count in counts if not count]:
        roll_call.notify_excluded(roster, NOTICE_SECONDS)
        raise RunError(
            f"no site that takes part ({', '.join(roster.sites)}) has an observed training sample of "
            f"{', '.join(unobserved)}: start the sites that have, or prepare the federation without these "
            f"modalities{_excluded_sites(roster)}"
        )
    roll_call.notify_excluded(roster)
    return roster, roll_call.federation


def joining_obstacle(config: RunConfig) -> str:
    """Return why sites that were not there at the start cannot join a run; empty if they can."""
    if config.secure_aggregation:
        return "with secure-aggregation, whose sums are over the same sites in all rounds"
    if config.privacy.noise_multiplier or config.privacy.patient_epsilon:
        return "with differential privacy, which is planned for the sites of the start"
    separate = [name for name in config.methods if METHODS[name].scope != "federated"]
    return f"with the method {separate[0]}, which does not train one model of all sites" if separate else ""


def _sites_to_resume(config: RunConfig, before: Mapping[str, dict]) -> set[str]:
    """Return the sites that a resumed run waits for."""
    named = set(config.named_sites)
    others = sorted(named - before.keys())
    if others and (obstacle := joining_obstacle(config)):
        raise RunError(
            f"{', '.join(others)} did not take part when the run started, and no site can join later "
            f"{obstacle}"
        )
    return named or set(before)


def _too_few_message(
    config: RunConfig, roster: Roster, missing: list[str], virtual: bool, is_resumed: bool
) -> str:
    within = f"within {config.sites_timeout:g} s"
    if missing:
        text = f"{', '.join(missing)} did not connect {within}: start every site of the run"
        if is_resumed and roster.sites:
            text += f", or go on without those that have left for good, by sites='{','.join(roster.sites)}'"
    elif virtual:
        text = (
            f"expected at least {config.min_sites} sites in the federation, but {len(roster.sites)} can take "
            "part: add sites or lower min-sites"
        )
    else:
        text = (
            f"expected at least {config.min_sites} sites {within}, but {len(roster.sites)} connected: "
            "start more sites or lower min-sites"
        )
    return text + _excluded_sites(roster)


def _excluded_sites(roster: Roster) -> str:
    return "".join(f"; excluded: {name}: {reason}" for name, reason in roster.excluded.items())
