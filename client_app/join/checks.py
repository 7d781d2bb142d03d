"""What a site looks at before it joins: its data, its credentials, its device, its clock.

Each check returns what it found, raises `CheckError` with what is wrong and what to do, and may give a
`Warn`ing, which is something found that will need attention.
"""

from __future__ import annotations

import base64
import os
import socket
import tempfile
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import yaml
from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from cryptography.hazmat.primitives.serialization import (
    load_ssh_private_key,
    load_ssh_public_key,
    ssh_key_fingerprint,
)

from client_app.device import describe_device
from condi_core.config import ConfigError
from data_partitions import DataError
from data_partitions.manifest import SPLITS
from data_partitions.partition import Partition

WARN_DAYS = 30


class CheckError(Exception):
    """What is wrong and what to do, in one sentence."""


class Warn(str):
    """Found well, with something to do soon."""


def check_data(folder: Path) -> str:
    """Read the partition through once."""
    try:
        partition = Partition.open(folder)
    except (DataError, OSError) as error:
        raise CheckError(str(error)) from None
    manifest = partition.manifest
    present = sum(m.present for m in manifest.modalities)
    windows = ", ".join(f"{manifest.windows[split]} {split}" for split in SPLITS)
    return (
        f"{manifest.site} of {manifest.dataset}: {windows} windows, {present} of {len(manifest.modalities)} "
        "modalities, all values read"
    )


def check_cache(folder: Path) -> str:
    """Make the folder of completed windows, and try to write in it."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        tempfile.TemporaryFile(dir=folder).close()
    except OSError as error:
        raise CheckError(
            f"completed windows cannot be kept in {folder} ({error.strerror}): choose another --cache"
        ) from None
    return f"{folder} can be written"


def check_authorities(file: Path) -> list[x509.Certificate]:
    """The certificates in `file`, by which the SuperLink is believed; all must be able to sign."""
    content = _read(file, "the certificate of the federation's authority (ca.crt)")
    if b"PRIVATE KEY" in content:
        raise CheckError(f"{file} has a private key in it: a site is given ca.crt alone, so ask for it again")
    try:
        found = x509.load_pem_x509_certificates(content)
    except ValueError:
        raise CheckError(f"{file} is not a certificate in PEM: give the ca.crt of the federation") from None
    for certificate in found:
        if not _is_authority(certificate):
            raise CheckError(
                f"{file} has a certificate that can sign no other ({certificate.subject.rfc4514_string()}): "
                "give the ca.crt of the federation"
            )
    return found


def check_validity(certificates: Iterable[x509.Certificate], name: str, remedy: str) -> str:
    """How long they last, at least; Problem when one has ended."""
    end = min(certificate.not_valid_after_utc for certificate in certificates)
    left = (end - datetime.now(UTC)) / timedelta(days=1)
    if left <= 0:
        raise CheckError(f"{name} ended on {end:%Y-%m-%d}: {remedy}")
    if left < WARN_DAYS:
        return Warn(f"{name} ends in {left:.0f} days: {remedy}")
    return f"{name} is good until {end:%Y-%m-%d}"


def check_key(file: Path) -> str:
    """The site's private key as Flower wants it; says its fingerprint."""
    content = _read(file, "the site's private key (site.key)")
    _refuse_public(file)
    if content.startswith((b"ecdsa-", b"ssh-")):
        raise CheckError(f"{file} is the public half of a key: give the private one, site.key")
    try:
        private = load_ssh_private_key(content, None)
    except TypeError:
        raise CheckError(
            f"{file} has a passphrase, which nobody is asked for: remove it by ssh-keygen -p -f {file}"
        ) from None
    except (ValueError, UnsupportedAlgorithm):
        raise CheckError(
            f"{file} is not a private key in OpenSSH's format: make one by ssh-keygen -t ecdsa -b 384"
        ) from None
    if not isinstance(private, ec.EllipticCurvePrivateKey):
        kind = type(private).__name__.removesuffix("PrivateKey").lstrip("_")
        raise CheckError(
            f"{file} is an {kind} key, and the SuperLink knows sites by elliptic-curve keys: make one by "
            "ssh-keygen -t ecdsa -b 384 and have its public half registered"
        )
    # As `ssh-keygen -lf site.pub` shows it, for both sides to compare.
    mark = ssh_key_fingerprint(private.public_key(), hashes.SHA256())
    return f"{private.curve.name}, SHA256:{base64.b64encode(mark).decode().rstrip('=')}"


def check_secret(file: Path) -> str:
    """What this SuperNode and its SuperExec share."""
    content = _read(file, "the secret of this site's SuperExec (superexec.secret)")
    _refuse_public(file)
    if not content:
        raise CheckError(f"{file} is empty: give the superexec.secret that the site was given")
    return f"{file}, apps run in a SuperExec of their own"


def check_trusted_keys(file: Path) -> str:
    """Whose signatures an app must have."""
    content = _read(file, "public keys of whose apps this site runs")
    try:
        entities = yaml.safe_load(content)
        if not isinstance(entities, dict) or not entities:  # for an empty one Flower would check nothing
            raise ValueError
        keys = [load_ssh_public_key(line.encode()) for line in entities.values()]
        if not all(isinstance(public, ed25519.Ed25519PublicKey) for public in keys):
            raise ValueError
    except (yaml.YAMLError, ValueError, AttributeError, UnsupportedAlgorithm):
        raise CheckError(
            f"{file} must map at least one key id to an Ed25519 public key, as in "
            "fpk_reviewer: 'ssh-ed25519 AAAA...'"
        ) from None
    return f"only apps signed by {', '.join(map(str, entities))} run here"


def check_device(name: str) -> str:
    try:
        return describe_device(name)
    except ConfigError as error:
        raise CheckError(f"{error}: choose by --device") from None


def check_clock(certificates: Iterable[x509.Certificate]) -> str:
    """The clock is not before any certificate was made; how far it is off can be told by no certificate.

    A SuperLink refuses what a node has signed more than 5 s ahead of its own clock or 305 s behind it
    (flwr.common.constant, SYSTEM_TIME_TOLERANCE and TIMESTAMP_TOLERANCE, in Flower 1.39).
    """
    now = datetime.now(UTC)
    start = max((c.not_valid_before_utc for c in certificates), default=now)
    if now < start:
        raise CheckError(
            f"it is {now:%Y-%m-%d %H:%M} UTC by this machine, and a certificate is good only from "
            f"{start:%Y-%m-%d %H:%M} on: set the clock, by NTP for instance"
        )
    return f"{now:%Y-%m-%d %H:%M:%S} UTC (a SuperLink allows 5 s ahead of its own, 305 s behind)"


def check_port(host: str, number: int) -> str:
    """Whether the node's own Runtime API can listen there."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        with socket.socket(family) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind((host, number))
    except OSError as error:
        raise CheckError(
            f"this node cannot serve its apps at {host}:{number} ({error.strerror}): choose another --port"
        ) from None
    return f"apps of this node are served at {host}:{number}"


def _is_authority(certificate: x509.Certificate) -> bool:
    try:
        return certificate.extensions.get_extension_for_class(x509.BasicConstraints).value.ca
    except x509.ExtensionNotFound:
        return False


def _read(file: Path, what: str) -> bytes:
    try:
        return file.read_bytes()
    except OSError as error:
        raise CheckError(f"{file} cannot be read ({error.strerror}): give {what}") from None


def _refuse_public(file: Path) -> None:
    if os.name == "posix" and file.stat().st_mode & 0o007:
        raise CheckError(f"{file} can be read by everybody on this machine: chmod 600 {file}")
