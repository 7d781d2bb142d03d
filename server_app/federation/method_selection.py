"""Which methods a run compares, and whether they can be had with its settings and sites."""

from __future__ import annotations

from collections.abc import Sequence

from condi_core.config import ConfigError, RunConfig
from condi_core.methods import METHODS, Method
from server_app.errors import RunError
from server_app.federation.roster import Roster, pooled


def select_methods(config: RunConfig) -> list[Method]:
    """The method of a run and those beside it; ConfigError when there is no such, or it cannot be had."""
    for name in config.methods:
        if name not in METHODS:
            raise ConfigError(f"unknown method '{name}': choose one of {', '.join(METHODS)}")
    methods = [METHODS[name] for name in config.methods]
    single = [m.name for m in methods if m.needs_individual_updates]
    private = "privacy.noise-multiplier" if config.privacy.noise_multiplier else ""
    if (hidden := private or ("secure-aggregation" if config.secure_aggregation else "")) and single:
        raise ConfigError(
            f"method '{single[0]}' needs the update of each single site and cannot be had with {hidden}: "
            "leave out one of them"
        )
    if config.privacy.smallest_count and (open_ := [m.name for m in methods if m.scope == "centralised"]):
        raise ConfigError(
            f"method '{open_[0]}' has the data of all sites in one place and cannot be had with "
            "privacy.smallest-count: leave out one of them"
        )
    if private and (closed := [m.name for m in methods if m.imputer_training == "relation"]):
        raise ConfigError(
            f"method '{closed[0]}' is nothing without the relation between modalities, which is not "
            f"estimated with {private}: leave out one of them"
        )
    return methods


def rosters_by_scope(methods: Sequence[Method], roster: Roster) -> dict[str, Roster]:
    """Map each scope of methods to the sites that answer; RunError for centralised training outside a simulation."""
    centralised = [m.name for m in methods if m.scope == "centralised"]
    if centralised and not roster.virtual:
        raise RunError(
            f"method '{centralised[0]}' wants the data of all sites in one place, which is possible in a "
            "simulation only: leave it out of method and compare-with"
        )
    return {"federated": roster, "local": roster} | ({"centralised": pooled(roster)} if centralised else {})
