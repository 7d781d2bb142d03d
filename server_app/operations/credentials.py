"""`condi credentials`: what coordinator and sites know each other by.

folder/
  ca.key, ca.crt                signs the server's certificate; what sites trust
  superlink.key, superlink.crt  who the SuperLink is
  superexec.secret              between the coordinator's SuperLink and its SuperExec
  sites/NAME/                   all that a site needs, to be carried there
    site.key, site.pub          who the site is, in OpenSSH's format, which Flower reads
    ca.crt
    superexec.secret            between this site's SuperNode and its SuperExec

Nothing that is there is ever replaced: a file is made anew from the others once it has been removed.
"""

from __future__ import annotations

import ipaddress
import os
import re
import secrets
import shlex
import tempfile
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_ssh_public_key,
)
from pydantic import TypeAdapter, ValidationError

from data_partitions.manifest import Name
from server_app.operations import certificates
from server_app.operations.certificates import (
    CredentialsError,
    names_of,
    read_certificate,
    read_key,
)

LOOPBACK = ("localhost", "127.0.0.1", "::1")
LABEL = r"[A-Za-z0-9_]([A-Za-z0-9_-]{0,61}[A-Za-z0-9_])?"


class Credentials:
    """The folder of one federation; `made` and `certificates` tell what the last `issue` did and found."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.made: list[str] = []
        self.certificates: dict[str, x509.Certificate] = {}

    def issue(self, hosts: Sequence[str], sites: Sequence[str], days: int) -> None:
        """Check what is there, then make what is missing; a new certificate of the server is for `days`.

        Raises CredentialsError when files do not belong together, when the server's certificate is not for
        all `hosts`, or when a name cannot be used; nothing has been written then.
        """
        self.made = []
        names = [_general_name(host) for host in dict.fromkeys([*hosts, *LOOPBACK])]
        folders = [self.folder / "sites" / _site_name(site) for site in sites]
        folders += sorted(key.parent for key in self.folder.glob("sites/*/site.key"))
        folders = [folder for folder in dict.fromkeys(folders) if not _handed_over(folder)]
        self._check(names, bool(hosts))
        for folder in folders:
            self._check_site(folder)

        ca = read_certificate(self.folder / "ca.crt")
        if ca is None:
            ca = certificates.authority(self._key("ca.key"))
            self._write("ca.crt", ca.public_bytes(Encoding.PEM))
        server = read_certificate(self.folder / "superlink.crt")
        if server is None:
            key = self._key("superlink.key").public_key()
            server = certificates.server(key, names, days, self._key("ca.key"), ca)
            self._write("superlink.crt", server.public_bytes(Encoding.PEM))
        self._secret("superexec.secret")
        for site in (f"sites/{folder.name}" for folder in folders):
            public = self._key(f"{site}/site.key").public_key()
            line = public.public_bytes(Encoding.OpenSSH, PublicFormat.OpenSSH)
            self._write(f"{site}/site.pub", line + f" {Path(site).name}\n".encode())
            self._write(f"{site}/ca.crt", ca.public_bytes(Encoding.PEM))
            self._secret(f"{site}/superexec.secret")
        self.certificates = {"ca.crt": ca, "superlink.crt": server}

    def _check(self, names: list[x509.GeneralName], told_hosts: bool) -> None:
        """CredentialsError unless what the coordinator has belongs together and can be completed."""
        for path in [*self.folder.glob("*.key"), *self.folder.glob("*.secret")]:
            _check_mode(path)
        ca, server = (read_certificate(self.folder / f"{stem}.crt") for stem in ("ca", "superlink"))
        ca_key, server_key = (read_key(self.folder / f"{stem}.key") for stem in ("ca", "superlink"))
        for stem, certificate, key in (("ca", ca, ca_key), ("superlink", server, server_key)):
            if certificate and key and certificate.public_key() != key.public_key():
                raise CredentialsError(
                    f"{stem}.crt in {self.folder} is not of {stem}.key: remove {stem}.crt for a new one"
                )
        if server and not server_key:
            raise CredentialsError(
                f"superlink.key is not in {self.folder}: bring it back, or remove superlink.crt to have both "
                "made anew"
            )
        if not ca_key and (bool(ca) != bool(server)):
            raise CredentialsError(
                f"ca.key is not in {self.folder}, and {'superlink.crt' if ca else 'ca.crt'} must be signed "
                "with it: bring it back, or begin in another folder"
            )
        if server and not certificates.signed_by(server, ca or certificates.authority(ca_key)):
            raise CredentialsError(
                f"superlink.crt in {self.folder} was not signed by ca.crt: remove superlink.crt, and it is "
                "made anew"
            )
        if server and (lacking := [name for name in names if name not in names_of(server)]):
            wanted = [str(name.value) for name in dict.fromkeys([*names_of(server), *names])]
            again = " ".join(f"--host {name}" for name in wanted if name not in LOOPBACK)
            raise CredentialsError(
                f"superlink.crt in {self.folder} is not for {', '.join(str(n.value) for n in lacking)}: "
                f"remove superlink.crt and call again with {again}"
            )
        if not server and not told_hosts:
            raise CredentialsError(
                "the server's certificate needs at least one --host: every name or address at which sites "
                "reach the SuperLink"
            )

    def _check_site(self, folder: Path) -> None:
        for path in [*folder.glob("*.key"), *folder.glob("*.secret")]:
            _check_mode(path)
        key, public = read_key(folder / "site.key"), folder / "site.pub"
        if key and public.exists():
            try:
                belongs = load_ssh_public_key(public.read_bytes()) == key.public_key()
            except ValueError:
                belongs = False
            if not belongs:
                raise CredentialsError(f"{public} is not of its site.key: remove it, and it is made anew")
        trusted = read_certificate(folder / "ca.crt")
        if trusted and trusted != read_certificate(self.folder / "ca.crt"):
            raise CredentialsError(
                f"{folder}/ca.crt is another than that of the federation: remove it, and it is made anew"
            )

    def _key(self, name: str) -> ec.EllipticCurvePrivateKey:
        """The private key of that name, made when there is none."""
        if key := read_key(self.folder / name):
            return key
        key = ec.generate_private_key(ec.SECP384R1())
        form = PrivateFormat.OpenSSH if name.endswith("site.key") else PrivateFormat.PKCS8
        self._write(name, key.private_bytes(Encoding.PEM, form, NoEncryption()), mode=0o600)
        return key

    def _secret(self, name: str) -> None:
        self._write(name, secrets.token_hex(32).encode(), mode=0o600)  # every byte of it is the secret

    def _write(self, name: str, content: bytes, mode: int = 0o644) -> None:
        """Make a file, whole or not at all, unless it is there."""
        path = self.folder / name
        if path.exists():
            return
        self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        for folder in (self.folder / "sites", path.parent) if path.parent != self.folder else ():
            folder.mkdir(mode=0o700, exist_ok=True)
        handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
        try:
            with os.fdopen(handle, "wb") as file:
                os.fchmod(file.fileno(), mode)
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
            os.link(temporary, path)  # unlike a rename it never replaces
        finally:
            os.unlink(temporary)
        self.made.append(name)


def _handed_over(folder: Path) -> bool:
    """Whether the private key is at the site alone, and only its public half here."""
    return (folder / "site.pub").exists() and not (folder / "site.key").exists()


def _check_mode(path: Path) -> None:
    if path.stat().st_mode & 0o077:
        raise CredentialsError(f"{path} can be read by others: chmod 600 {shlex.quote(str(path))}")


def _general_name(host: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(host))
    except ValueError:
        pass
    if len(host) > 253 or not re.fullmatch(rf"{LABEL}(\.{LABEL})*", host):
        raise CredentialsError(
            f"--host '{host}' is no host: expected a name or an IP address alone, such as fl.example.org"
        )
    return x509.DNSName(host.lower())


def _site_name(site: str) -> str:
    try:
        return TypeAdapter(Name).validate_python(site)
    except ValidationError:
        raise CredentialsError(
            f"--site '{site}' cannot be the name of a folder: expected up to 100 characters without / and "
            "\\ that do not begin with a dot"
        ) from None


def credentials(
    folder: Annotated[Path, typer.Argument(metavar="DIR", file_okay=False, help="Where they are kept.")],
    host: Annotated[
        list[str] | None,
        typer.Option(help="Name or address at which sites reach the SuperLink; repeatable."),
    ] = None,
    site: Annotated[list[str] | None, typer.Option(help="Name of a site; repeatable.")] = None,
    days: Annotated[
        int, typer.Option(min=1, max=3650, help="Lifetime of a new certificate of the SuperLink.")
    ] = 365,
) -> None:
    """Make the keys and certificates of a federation, or what is missing; say when certificates end.

    Nothing is replaced: remove superlink.crt and name every --host again to renew it.
    """
    kept = Credentials(folder.expanduser().absolute())
    try:
        kept.issue(host or [], site or [], days)
    except (CredentialsError, OSError) as error:
        typer.echo(f"Error: {error}", err=True)
        raise typer.Exit(1) from None
    typer.echo(f"made in {kept.folder}: {', '.join(kept.made)}" if kept.made else "everything was there")
    for name, certificate in kept.certificates.items():
        typer.echo(f"{name} ends {certificate.not_valid_after_utc:%Y-%m-%d}")
        if warning := certificates.warning(name, certificate, datetime.now(UTC)):
            typer.echo(f"Warning: {warning}", err=True)
    if kept.made:
        typer.echo(_next_steps(kept))


def _next_steps(kept: Credentials) -> str:
    """What to give to whom, of what was made."""
    lines = ["", "Next:"]
    if "superlink.crt" in kept.made:
        lines.append("- the SuperLink reads ca.crt, superlink.crt and superlink.key when it starts")
    if "superexec.secret" in kept.made:
        lines.append("- the SuperLink and the coordinator's SuperExec read superexec.secret")
    for name in sorted({Path(name).parts[1] for name in kept.made if name.startswith("sites/")}):
        folder = kept.folder / "sites" / name
        public, called = shlex.quote(str(folder / "site.pub")), shlex.quote(name)
        lines += [
            f"- {name}: flwr supernode register {public} CONNECTION --name {called}",
            f"  carry {folder} to the site by a way nobody else can read, then remove site.key here",
        ]
    if "ca.key" in kept.made:
        lines.append("- keep ca.key off this machine: only a new certificate of the SuperLink needs it")
    return "\n".join(lines)
