"""Make the keys and certificates with which a coordinator and its sites authenticate each other.

folder/
  ca.key, ca.crt                signs the SuperLink's certificate; sites trust ca.crt
  superlink.key, superlink.crt  identify the SuperLink
  superexec.secret              shared by the coordinator's SuperLink and its SuperExec
  sites/NAME/                   everything that a site needs, to be transferred to it
    site.key, site.pub          identify the site, in OpenSSH's format, which Flower reads
    ca.crt
    superexec.secret            shared by this site's SuperNode and its SuperExec

An existing file is never replaced: remove a file and run the command again to have it made from the others.
"""

from __future__ import annotations

import ipaddress
import os
import re
import secrets
import shlex
from collections.abc import Sequence
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_ssh_public_key,
)

from data_partitions.errors import DataError
from data_partitions.site_names import require_site_name
from data_partitions.storage import sync_directory
from data_partitions.temporary import open_temporary_file
from server_app.operations import certificates
from server_app.operations.certificates import (
    CredentialsError,
    read_certificate,
    read_private_key,
    subject_names,
)

LOOPBACK_HOSTS = ("localhost", "127.0.0.1", "::1")
HOST_LABEL = r"[A-Za-z0-9_]([A-Za-z0-9_-]{0,61}[A-Za-z0-9_])?"


class Credentials:
    """The credentials of one federation in a folder.

    Attributes
    ----------
    folder : where they are
    created : paths, relative to the folder, of the files that the last `issue` has written
    certificates : certificates of the federation by file name, after `issue`
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.created: list[str] = []
        self.certificates: dict[str, x509.Certificate] = {}

    def issue(self, hosts: Sequence[str], sites: Sequence[str], days: int) -> None:
        """Check the files that exist, then make those that are missing.

        Parameters
        ----------
        hosts : names and addresses at which sites reach the SuperLink, besides those of the loopback device
        sites : names of sites to make credentials for, besides those that have some
        days : lifetime of the SuperLink's certificate, if it is made now

        Raises
        ------
        CredentialsError
            When files do not belong together, when the SuperLink's certificate is not valid for all `hosts`,
            or when a name cannot be used. Nothing has been written then.
        """
        self.created = []
        names = [_general_name(host) for host in dict.fromkeys([*hosts, *LOOPBACK_HOSTS])]
        folders = [self.folder / "sites" / _site_name(site) for site in sites]
        folders += sorted(key.parent for key in self.folder.glob("sites/*/site.key"))
        folders = [folder for folder in dict.fromkeys(folders) if not _is_handed_over(folder)]
        self._check_coordinator(names, hosts_given=bool(hosts))
        for folder in folders:
            self._check_site(folder)

        ca = read_certificate(self.folder / "ca.crt")
        if ca is None:
            ca = certificates.make_ca_certificate(self._private_key("ca.key"))
            self._write("ca.crt", ca.public_bytes(Encoding.PEM))
        server = read_certificate(self.folder / "superlink.crt")
        if server is None:
            key = self._private_key("superlink.key").public_key()
            server = certificates.make_server_certificate(key, names, days, self._private_key("ca.key"), ca)
            self._write("superlink.crt", server.public_bytes(Encoding.PEM))
        self._write_secret("superexec.secret")
        for site in (f"sites/{folder.name}" for folder in folders):
            public_key = self._private_key(f"{site}/site.key").public_key()
            line = public_key.public_bytes(Encoding.OpenSSH, PublicFormat.OpenSSH)
            self._write(f"{site}/site.pub", line + f" {Path(site).name}\n".encode())
            self._write(f"{site}/ca.crt", ca.public_bytes(Encoding.PEM))
            self._write_secret(f"{site}/superexec.secret")
        self.certificates = {"ca.crt": ca, "superlink.crt": server}

    def _check_coordinator(self, names: list[x509.GeneralName], hosts_given: bool) -> None:
        """Raise CredentialsError unless the coordinator's files belong together and can be completed."""
        for path in [*self.folder.glob("*.key"), *self.folder.glob("*.secret")]:
            _check_mode(path)
        ca, server = (read_certificate(self.folder / f"{stem}.crt") for stem in ("ca", "superlink"))
        ca_key, server_key = (read_private_key(self.folder / f"{stem}.key") for stem in ("ca", "superlink"))
        for stem, certificate, key in (("ca", ca, ca_key), ("superlink", server, server_key)):
            if certificate and key and certificate.public_key() != key.public_key():
                raise CredentialsError(
                    f"{stem}.crt in {self.folder} does not belong to {stem}.key: remove {stem}.crt to have a "
                    "new one made"
                )
        if server and not server_key:
            raise CredentialsError(
                f"superlink.key is missing in {self.folder}: restore it, or remove superlink.crt to have "
                "both made again"
            )
        if not ca_key and (bool(ca) != bool(server)):
            raise CredentialsError(
                f"ca.key is missing in {self.folder}, and {'superlink.crt' if ca else 'ca.crt'} must be "
                "signed with it: restore it, or start in another folder"
            )
        if server:
            issuer = ca
            if issuer is None and ca_key is not None:
                issuer = certificates.make_ca_certificate(ca_key)
            if issuer is None or not certificates.is_signed_by(server, issuer):
                raise CredentialsError(
                    f"superlink.crt in {self.folder} was not signed by ca.crt: remove superlink.crt to have "
                    "it made again"
                )
            self._check_hosts(server, names)
        elif not hosts_given:
            raise CredentialsError(
                "the server's certificate needs at least one --host: give every name or address at which "
                "sites reach the SuperLink"
            )

    def _check_hosts(self, server: x509.Certificate, names: list[x509.GeneralName]) -> None:
        """Raise CredentialsError unless the SuperLink's certificate is valid for all names."""
        valid_names = subject_names(server)
        missing = [str(name.value) for name in names if name not in valid_names]
        if missing:
            all_names = [str(name.value) for name in dict.fromkeys([*valid_names, *names])]
            hosts = " ".join(f"--host {name}" for name in all_names if name not in LOOPBACK_HOSTS)
            raise CredentialsError(
                f"superlink.crt in {self.folder} is not valid for {', '.join(missing)}: remove superlink.crt "
                f"and run the command again with {hosts}"
            )

    def _check_site(self, folder: Path) -> None:
        """Raise CredentialsError unless a site's files belong together."""
        for path in [*folder.glob("*.key"), *folder.glob("*.secret")]:
            _check_mode(path)
        key, public_file = read_private_key(folder / "site.key"), folder / "site.pub"
        if key and public_file.exists():
            try:
                belongs = load_ssh_public_key(public_file.read_bytes()) == key.public_key()
            except ValueError:
                belongs = False
            if not belongs:
                raise CredentialsError(
                    f"{public_file} does not belong to its site.key: remove it to have it made again"
                )
        trusted = read_certificate(folder / "ca.crt")
        if trusted and trusted != read_certificate(self.folder / "ca.crt"):
            raise CredentialsError(
                f"{folder}/ca.crt differs from the federation's: remove it to have it made again"
            )

    def _private_key(self, name: str) -> ec.EllipticCurvePrivateKey:
        """Return the private key in a file, which is made when there is none."""
        if key := read_private_key(self.folder / name):
            return key
        key = ec.generate_private_key(ec.SECP384R1())
        form = PrivateFormat.OpenSSH if name.endswith("site.key") else PrivateFormat.PKCS8
        self._write(name, key.private_bytes(Encoding.PEM, form, NoEncryption()), mode=0o600)
        return key

    def _write_secret(self, name: str) -> None:
        self._write(
            name, secrets.token_hex(32).encode(), mode=0o600
        )  # Flower reads the file to its last byte

    def _write(self, name: str, content: bytes, mode: int = 0o644) -> None:
        """Write a file atomically, unless it exists."""
        path = self.folder / name
        if path.exists():
            return
        self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        for folder in (self.folder / "sites", path.parent) if path.parent != self.folder else ():
            folder.mkdir(mode=0o700, exist_ok=True)
        handle, temporary = open_temporary_file(path)
        try:
            with os.fdopen(handle, "wb") as file:
                os.fchmod(file.fileno(), mode)
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
            os.link(temporary, path)  # unlike a rename, this never replaces a file
            sync_directory(path.parent)
        finally:
            temporary.unlink()
        self.created.append(name)


def _is_handed_over(folder: Path) -> bool:
    """Return whether a site's private key is at the site, and only its public key is in the folder."""
    return (folder / "site.pub").exists() and not (folder / "site.key").exists()


def _check_mode(path: Path) -> None:
    if path.stat().st_mode & 0o077:
        raise CredentialsError(f"{path} can be read by other users: run chmod 600 {shlex.quote(str(path))}")


def _general_name(host: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(host))
    except ValueError:
        pass
    if len(host) > 253 or not re.fullmatch(rf"{HOST_LABEL}(\.{HOST_LABEL})*", host):
        raise CredentialsError(
            f"--host '{host}' is not a host: expected a name or an IP address alone, such as fl.example.org"
        )
    return x509.DNSName(host.lower())


def _site_name(site: str) -> str:
    try:
        require_site_name(site)
    except DataError as error:
        raise CredentialsError(f"--site: {error}") from None
    return site
