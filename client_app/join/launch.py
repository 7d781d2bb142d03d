"""`condi site`: checks everything that a site needs, then becomes Flower's SuperNode."""

from __future__ import annotations

import os
import sys
import sysconfig
from collections.abc import Callable
from pathlib import Path
from typing import Annotated

import platformdirs
import typer
from cryptography import x509

from client_app.join import checks
from client_app.join.checks import CheckError, Warn
from client_app.join.connection import Address, server_certificate, verify_certificate

OFFLINE = {
    "FLWR_TELEMETRY_ENABLED": "0",
    "FLWR_DISABLE_UPDATE_CHECK": "1",
    "FLWR_DISABLE_RUNTIME_DEPENDENCY_INSTALLATION": "1",
}


class Report:
    """Prints what each check found, and remembers whether all went well."""

    def __init__(self) -> None:
        self.well = True

    def check(self, name: str, look: Callable[..., str], *arguments: object) -> None:
        try:
            found = look(*arguments)
        except CheckError as problem:
            self.well = False
            self.say("✗", name, str(problem), typer.colors.RED)
            return
        warn = isinstance(found, Warn)
        self.say("!" if warn else "✓", name, found, typer.colors.YELLOW if warn else typer.colors.GREEN)

    @staticmethod
    def say(mark: str, name: str, told: str, colour: str | None = None) -> None:
        typer.echo(f"{typer.style(mark, fg=colour)} {name:<12} {told}")


def _address(text: str) -> Address:
    try:
        return Address.parse(text)
    except ValueError as error:
        raise typer.BadParameter(str(error)) from None


def site(
    data: Annotated[Path, typer.Option(help="The site's partition, made by `condi prepare`.")],
    superlink: Annotated[
        Address,
        typer.Option(parser=_address, metavar="HOST:PORT", help="The SuperLink's Fleet API (gRPC over TLS)."),
    ],
    root_certificates: Annotated[
        Path, typer.Option(metavar="FILE", help="ca.crt: by whom the SuperLink must be vouched for.")
    ],
    key: Annotated[
        Path, typer.Option(metavar="FILE", help="site.key: who this site is. For its owner alone to read.")
    ],
    device: Annotated[str, typer.Option(help="auto, cpu, cuda or cuda:NUMBER.")] = "auto",
    cache: Annotated[
        Path | None, typer.Option(help="Where completed windows are kept. Default: the user's cache folder.")
    ] = None,
    superexec_secret: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="superexec.secret: apps run in a `flower-superexec` started beside this, which alone may "
            "have them. Without it this node starts one, and any user of this machine can ask for apps.",
        ),
    ] = None,
    trusted_entities: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Run only apps signed by one of the keys in this YAML file."),
    ] = None,
    host: Annotated[
        str, typer.Option(help="Where this node's own Runtime API listens; 0.0.0.0 in a container.")
    ] = "127.0.0.1",
    port: Annotated[
        int, typer.Option(min=1, max=65535, help="Its port; each node on a machine needs its own.")
    ] = 9094,
    check: Annotated[bool, typer.Option("--check", help="Only check: exit with 0 when all is well.")] = False,
) -> None:
    """Join a federation with the data of this site, once all that is known to go wrong has been looked at.

    This process then becomes Flower's SuperNode and works for the coordinator until it gets SIGTERM.
    """
    data, key, root_certificates = map(_absolute, (data, key, root_certificates))
    cache = _absolute(cache or platformdirs.user_cache_path("condi") / "completed")
    config = {"data": data, "device": device, "cache": cache}
    for name, value in config.items():
        if set('"\\\n') & set(str(value)):
            raise typer.BadParameter(f"--{name} must be without quotes, backslashes and new lines: {value}")

    report = Report()
    report.check("data", checks.check_data, data)
    report.check("cache", checks.check_cache, cache)
    trusted = _check_authorities(report, root_certificates)
    report.check("key", checks.check_key, key)
    if superexec_secret:
        report.check("secret", checks.check_secret, superexec_secret)
    if trusted_entities:
        report.check("signatures", checks.check_trusted_keys, trusted_entities)
    report.check("device", checks.check_device, device)
    report.check("port", checks.check_port, host, port)
    _check_connection(report, superlink, root_certificates, trusted)
    if not report.well:
        raise typer.Exit(1)
    if check:
        return

    command = [
        *(sys.executable, "-P", "-m", "client_app.join.supernode", "--grpc-rere"),
        *("--superlink", str(superlink)),
        *("--root-certificates", str(root_certificates), "--auth-supernode-private-key", str(key)),
        *("--host", host, "--port", str(port)),
        *("--node-config", " ".join(f'{name}="{value}"' for name, value in config.items())),
    ]
    if superexec_secret:
        secret = str(_absolute(superexec_secret))
        command += ["--isolation", "process", "--superexec-auth-secret-file", secret]
    if trusted_entities:
        command += ["--trusted-entities", str(_absolute(trusted_entities))]
    path = os.pathsep.join([sysconfig.get_path("scripts"), os.environ.get("PATH", os.defpath)])
    sys.stdout.flush()
    os.execve(sys.executable, command, os.environ | OFFLINE | {"PATH": path})


def _absolute(path: Path) -> Path:
    return path.expanduser().absolute()


def _check_authorities(report: Report, file: Path) -> list[x509.Certificate]:
    """What the file has, as far as it can be used."""
    found: list[x509.Certificate] = []

    def certificate() -> str:
        found.extend(checks.check_authorities(file))
        return checks.check_validity(found, str(file), "ask the coordinator for the new ca.crt")

    report.check("certificate", certificate)
    return found


def _check_connection(
    report: Report, address: Address, authorities: Path, trusted: list[x509.Certificate]
) -> None:
    """The clock by the certificates of both sides, and the connection as far as these let it be checked."""
    shown, problem = None, None
    try:
        shown = server_certificate(address)
    except CheckError as error:
        problem = error
    report.check("clock", checks.check_clock, [*trusted, *([shown] if shown else [])])

    def connection() -> str:
        if problem:
            raise problem
        return verify_certificate(address, authorities, shown)

    if shown and not trusted:
        report.say("-", "connection", f"{address} speaks gRPC over TLS; who it is cannot be verified")
    else:
        report.check("connection", connection)
