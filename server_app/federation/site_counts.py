"""Check that a run has as many sites as its settings need."""

from __future__ import annotations

from condi_core.config import RunConfig
from server_app.errors import RunError
from server_app.federation.client_sampling import num_sampled_sites
from server_app.federation.roster import Roster
from server_app.federation.secure_aggregation import require_secure_sites


def check_number_of_sites(config: RunConfig, roster: Roster) -> None:
    """Raise RunError when a phase has too few sites for the settings of the run."""
    for of_phase in (roster, roster.labelled_sites()) if roster.schema.labels else (roster,):
        if config.secure_aggregation:
            require_secure_sites(of_phase)
        num_sites = len(of_phase.sites)
        fractions = {
            "sites-per-round": config.sites_per_round,
            "sites-per-evaluation": config.sites_per_evaluation,
        }
        for setting, fraction in fractions.items():
            num_sampled = num_sampled_sites(num_sites, fraction)
            if num_sampled < min(config.min_sites, num_sites):
                raise RunError(
                    f"{setting}={fraction:g} selects {num_sampled} of {num_sites} sites "
                    f"per round, but min-sites is {config.min_sites}: raise {setting} or lower min-sites"
                )
