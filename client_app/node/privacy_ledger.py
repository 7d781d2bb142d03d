"""The ledger of what a site has spent of its patients' privacy, over all runs, in its audit log.

Each release is recorded before it is made. The policy of the site limits the epsilon of all releases
together, whatever data they were of: a patient may be in all partitions that the site has prepared.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from client_app.node.audit_log import append_entry, read_entries
from client_app.node.site import Site
from condi_core.config import ConfigError
from condi_core.privacy.accounting import GaussianRelease, compute_epsilon
from data_partitions.locks import hold_lock

ENTRY_KIND = "privacy"


def spend_privacy(
    site: Site, release: str, mechanism: GaussianRelease, planned: Sequence[GaussianRelease] | None = None
) -> None:
    """Record a release in the audit log; without a log, as in a simulation, do nothing.

    Parameters
    ----------
    site : Site
    release : str
        What is released, such as "relation".
    mechanism : GaussianRelease
        Noise of the release.
    planned : sequence of GaussianRelease, optional
        All that the run is going to release. By default the release alone.

    Raises
    ------
    ConfigError
        With what is planned, the site would spend more than `max-epsilon` of its policy.
    OSError, AuditLogError
        The log cannot be read or written, or it was changed.
    """
    if site.audit is None:
        return
    # Two nodes with one log must not both spend what is left of the budget.
    with hold_lock(site.audit.with_name(f"{site.audit.name}.lock"), site.audit, wait=True):
        _spend(site, site.audit, release, mechanism, planned or [mechanism])


def _spend(
    site: Site, log: Path, release: str, mechanism: GaussianRelease, planned: Sequence[GaussianRelease]
) -> None:
    spent = read_spending(read_entries(log) if log.exists() else [])
    limit, delta = site.policy.max_epsilon, site.policy.delta
    if limit and compute_epsilon([*spent, *planned], delta) > limit:
        raise ConfigError(
            f"site {site.name} has spent epsilon {compute_epsilon(spent, delta):.3g} of its patients' "
            f"privacy at delta {delta:g}, and with this run it would be more than max-epsilon={limit:g} "
            "of its policy: lower privacy.patient-epsilon, or run without the site"
        )
    epsilon = compute_epsilon([*spent, mechanism], delta)
    fields = {"data": site.fingerprint, "epsilon": round(epsilon, 4), "delta": delta}
    append_entry(log, ENTRY_KIND, release=release, **mechanism._asdict(), **fields)


def read_spending(entries: Sequence[dict]) -> list[GaussianRelease]:
    """Return the releases that the entries of an audit log have."""
    spent = [entry for entry in entries if entry["kind"] == ENTRY_KIND]
    return [GaussianRelease(*(entry[name] for name in GaussianRelease._fields)) for entry in spent]
