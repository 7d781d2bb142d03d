"""Which methods of a run have something to train at its sites, and who trains them."""

from __future__ import annotations

from collections.abc import Sequence

from condi_core.config import RunConfig
from condi_core.methods import Method
from condi_core.protocol import POOLED_SITE
from data_partitions.manifest import SPLITS
from data_partitions.pool import pooled_manifest
from server_app.artifacts.site_info import SiteInfo
from server_app.errors import RunError
from server_app.federation.roster import Roster


def methods_for_data(methods: Sequence[Method], roster: Roster, config: RunConfig) -> list[Method]:
    """Return the methods that have something to train: without labels, those that train an imputer.

    Raises
    ------
    RunError
        No method has anything to train, or the run's settings need what the data do not have.
    """
    schema = roster.schema
    if config.task.covariates and not schema.covariates:
        raise RunError("task.covariates needs data with covariates, and these have none: set it to false")
    if config.privacy.patient_epsilon and schema.task_kind.standardises_labels:
        raise RunError(
            "a regression cannot be combined with privacy.patient-epsilon, because the sums that standardise "
            "its labels have no noise: set it to 0"
        )
    if schema.labels:
        if not roster.labelled_sites().sites:
            raise RunError(
                f"no site has labels for training, which the {schema.task} task needs: prepare the data with "
                'their labels, or with the task "none" to train phase 1 alone'
            )
        return list(methods)
    trained = [method for method in methods if method.imputer_training != "none"]
    if not trained:
        raise RunError(
            f"the data have no labels, and method '{methods[0].name}' trains nothing else: choose a method "
            "that trains an imputer, such as condi"
        )
    if omitted := [method.name for method in methods if method not in trained]:
        print(f"note: the data have no labels, and {', '.join(omitted)} would train nothing", flush=True)
    return trained


def rosters_by_scope(methods: Sequence[Method], roster: Roster) -> dict[str, Roster]:
    """Return the sites that answer for each scope of methods.

    Raises
    ------
    RunError
        A method is centralised training, and the run is not a simulation.
    """
    centralised = [method.name for method in methods if method.scope == "centralised"]
    if centralised and not roster.virtual:
        raise RunError(
            f"method '{centralised[0]}' is centralised training, which is possible in a simulation only: "
            "remove it from method and compare-with"
        )
    rosters = {"federated": roster, "local": roster}
    return rosters | {"centralised": _pool_sites(roster)} if centralised else rosters


def _pool_sites(roster: Roster) -> Roster:
    """Return all sites of a simulation as one site, for which the node of the first site answers."""
    node = next(iter(roster.sites.values())).node_id
    manifest = pooled_manifest([site.manifest for site in roster.sites.values()], POOLED_SITE)
    labelled = {split: sum(site.labelled[split] for site in roster.sites.values()) for split in SPLITS}
    sums = (roster.sums, roster.label_sums, roster.covariate_sums)
    site = SiteInfo(node, manifest, dict.fromkeys(SPLITS), labelled, *sums)
    return Roster({POOLED_SITE: site}, {}, roster.virtual)
