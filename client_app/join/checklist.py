"""All checks of `condi site`, printed one per line; all problems are shown at once."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import typer
from cryptography import x509

from client_app.join import checks, site_policy_checks
from client_app.join.address import Address
from client_app.join.checks import CheckError, CheckResult
from client_app.join.connection import fetch_server_certificate, verify_certificate

MARKS = {
    "ok": ("✓", typer.colors.GREEN),
    "warning": ("!", typer.colors.YELLOW),
    "error": ("✗", typer.colors.RED),
    "unknown": ("-", None),
}


class Checklist:
    """Runs checks, prints their results, and records whether any failed."""

    def __init__(self) -> None:
        self.passed = True

    def check(self, name: str, function: Callable[..., CheckResult], *arguments: object) -> None:
        """Run one check and print its result."""
        try:
            result = function(*arguments)
        except CheckError as error:
            result = CheckResult("error", str(error))
        self.passed &= result.level != "error"
        mark, colour = MARKS[result.level]
        typer.echo(f"{typer.style(mark, fg=colour)} {name:<12} {result.text}")


def run_checks(
    *,
    data: Path,
    cache: Path,
    superlink: Address,
    root_certificates: Path,
    key: Path,
    superexec_secret: Path | None,
    trusted_entities: Path | None,
    policy: Path | None,
    audit: Path,
    device: str,
    host: str,
    port: int,
) -> bool:
    """Check everything that a site needs; the parameters are the options of `condi site`.

    Returns
    -------
    bool
        Whether the site can join.
    """
    checklist = Checklist()
    checklist.check("data", checks.check_data, data)
    checklist.check("cache", checks.check_cache, cache)
    checklist.check("policy", site_policy_checks.check_policy, policy)
    checklist.check("audit", site_policy_checks.check_audit_log, audit)
    authorities = _check_authorities(checklist, root_certificates)
    checklist.check("key", checks.check_key, key)
    if superexec_secret:
        checklist.check("secret", checks.check_secret, superexec_secret)
    if trusted_entities:
        checklist.check("signatures", checks.check_trusted_keys, trusted_entities)
    checklist.check("device", checks.check_device, device)
    checklist.check("port", checks.check_port, host, port)
    _check_connection(checklist, superlink, root_certificates, authorities)
    return checklist.passed


def _check_authorities(checklist: Checklist, file: Path) -> list[x509.Certificate]:
    """Check the authorities' certificates; return those that can be used."""
    authorities: list[x509.Certificate] = []

    def check_certificate() -> CheckResult:
        authorities.extend(checks.load_authorities(file))
        return checks.check_validity(authorities, str(file), "ask the coordinator for the new ca.crt")

    checklist.check("certificate", check_certificate)
    return authorities


def _check_connection(
    checklist: Checklist, address: Address, file: Path, authorities: list[x509.Certificate]
) -> None:
    """Check the clock by the certificates of both sides, and the connection as far as they allow."""
    certificate: x509.Certificate | None = None
    failure: CheckError | None = None
    try:
        certificate = fetch_server_certificate(address)
    except CheckError as error:
        failure = error
    checklist.check("clock", checks.check_clock, [*authorities, *([certificate] if certificate else [])])

    def check_connection() -> CheckResult:
        if certificate is None:
            raise failure or CheckError(f"{address} presents no certificate")
        if not authorities:
            return CheckResult("unknown", f"{address} speaks gRPC over TLS; its identity cannot be verified")
        return verify_certificate(address, file, certificate)

    checklist.check("connection", check_connection)
