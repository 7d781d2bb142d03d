"""`condi credentials`: make the credentials of a federation, and print their expiry and the next steps."""

from __future__ import annotations

import os
import shlex
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from server_app.operations.credentials import Credentials


def credentials(
    folder: Annotated[
        Path, typer.Argument(metavar="DIR", file_okay=False, help="Folder of the credentials.")
    ],
    host: Annotated[
        list[str] | None,
        typer.Option(help="Name or address at which sites reach the SuperLink; repeatable."),
    ] = None,
    site: Annotated[list[str] | None, typer.Option(help="Name of a site; repeatable.")] = None,
    days: Annotated[
        int, typer.Option(min=1, max=3650, help="Lifetime in days of a new certificate of the SuperLink.")
    ] = 365,
) -> None:
    """Make the keys and certificates of a federation that are missing, and print when certificates expire.

    No file is replaced: to renew the SuperLink's certificate, remove
    superlink.crt and run the command again with every --host.
    """
    from server_app.operations.certificates import CredentialsError, expiry_warning
    from server_app.operations.credentials import Credentials

    issued = Credentials(Path(os.path.expanduser(folder)).absolute())
    try:
        issued.issue(host or [], site or [], days)
    except (CredentialsError, OSError) as error:
        typer.echo(f"Error: {error}", err=True)
        raise typer.Exit(1) from None
    if issued.created:
        typer.echo(f"created in {issued.folder}: {', '.join(issued.created)}")
    else:
        typer.echo("nothing is missing")
    for name, certificate in issued.certificates.items():
        typer.echo(f"{name} expires {certificate.not_valid_after_utc:%Y-%m-%d}")
        if warning := expiry_warning(name, certificate, datetime.now(UTC)):
            typer.echo(f"Warning: {warning}", err=True)
    if issued.created:
        typer.echo(_next_steps(issued))


def _next_steps(issued: Credentials) -> str:
    """Return what to do with the files that were created."""
    lines = ["", "Next:"]
    if "superlink.crt" in issued.created:
        lines.append("- the SuperLink reads ca.crt, superlink.crt and superlink.key when it starts")
    if "superexec.secret" in issued.created:
        lines.append("- the SuperLink and the coordinator's SuperExec read superexec.secret")
    for site in sorted({Path(name).parts[1] for name in issued.created if name.startswith("sites/")}):
        folder = issued.folder / "sites" / site
        public_file, quoted_site = shlex.quote(str(folder / "site.pub")), shlex.quote(site)
        lines += [
            f"- {site}: flwr supernode register {public_file} CONNECTION --name {quoted_site}",
            f"  transfer {folder} to the site by a way that no one else can read, then remove site.key here",
        ]
    if "ca.key" in issued.created:
        lines.append("- keep ca.key off this machine: only a new certificate of the SuperLink needs it")
    return "\n".join(lines)
