"""What a site checks of its policy and its audit log before it joins, as the checks in `checks`."""

from __future__ import annotations

import os
from pathlib import Path

from client_app.join.checks import CheckError, CheckResult
from client_app.node.audit_log import AuditLogError, verify_chain
from client_app.node.local_noise import compute_local_epsilon
from client_app.node.site_policy import SitePolicy, read_policy
from data_partitions import DataError

DELTA = 1e-5  # at which the epsilon of the site's own noise is reported


def check_policy(file: Path | None) -> CheckResult:
    """Check that the policy can be read, and say what it gives."""
    try:
        policy = read_policy(file) if file else SitePolicy()
    except DataError as error:
        raise CheckError(str(error)) from None
    parts = [
        f"{file or 'the default policy'}: counts of fewer than {policy.smallest_count} patients are withheld",
        f"apps: {', '.join(policy.accepted_apps)}",
        f"at most {policy.rounds_per_run} rounds a run and {policy.runs_per_day} runs a day",
    ]
    if noise := policy.update_noise_multiplier:
        single, all_rounds = (compute_local_epsilon(policy, n, DELTA) for n in (1, policy.rounds_per_run))
        parts.append(
            f"updates have a norm of at most {policy.update_clip_norm:g} and noise {noise:g}: epsilon of all "
            f"data of this site is {single:.3g} for one update and {all_rounds:.3g} for "
            f"{policy.rounds_per_run}, at delta {DELTA:g}"
        )
    if "any" in policy.accepted_apps:
        sentence = '; with accepted-apps = "any", a coordinator\'s code can do anything that this process can'
        return CheckResult("warning", "; ".join(parts) + sentence)
    return CheckResult("ok", "; ".join(parts))


def check_audit_log(file: Path) -> CheckResult:
    """Check that the audit log is intact, and can be written."""
    try:
        if file.exists():
            chain = verify_chain(file)
            file.open("ab").close()
            return CheckResult("ok", f"{file}: {chain.entries} entries, last hash {chain.last_hash}")
        file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        if not os.access(file.parent, os.W_OK):
            raise PermissionError(13, "Permission denied")
    except AuditLogError as error:
        raise CheckError(
            f"{error}; keep this file, find out who changed it, and choose another --audit"
        ) from None
    except OSError as error:
        raise CheckError(
            f"the audit log cannot be written to {file} ({error.strerror}): choose another --audit"
        ) from None
    return CheckResult("ok", f"{file} begins with the first run")
