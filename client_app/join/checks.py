"""What a site checks on its machine before it joins: its data, credentials, device, clock and port.

Each check returns a `CheckResult`, or raises `CheckError` with what is wrong and what to do.
"""

from __future__ import annotations

import base64
import os
import socket
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Literal, NamedTuple

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
from data_partitions.user_cache import require_writable

EXPIRY_WARNING_DAYS = 30


class CheckError(Exception):
    """What is wrong and what to do, in one sentence."""


class CheckResult(NamedTuple):
    """Outcome of a check: a warning needs attention soon, and "unknown" could not be checked."""

    level: Literal["ok", "warning", "error", "unknown"]
    text: str


def check_data(folder: Path) -> CheckResult:
    """Check that the site's partition is complete, by reading all of it once."""
    try:
        partition = Partition.open(folder)
    except (DataError, OSError) as error:
        raise CheckError(str(error)) from None
    manifest = partition.manifest
    present = sum(m.present for m in manifest.modalities)
    windows = ", ".join(f"{manifest.windows[split]} {split}" for split in SPLITS)
    return CheckResult(
        "ok",
        f"{manifest.site} of {manifest.dataset}: {windows} windows, {present} of {len(manifest.modalities)} "
        "modalities; all values were read",
    )


def check_cache(folder: Path) -> CheckResult:
    """Check that the folder of completed windows can be made and written to."""
    try:
        require_writable(folder, "choose another --cache")
    except DataError as error:
        raise CheckError(str(error)) from None
    return CheckResult("ok", f"{folder} can be written")


def load_authorities(file: Path) -> list[x509.Certificate]:
    """Load the certificates of the SuperLink's authorities; CheckError unless all of them can sign."""
    content = _read_file(file, "the certificate of the federation's authority (ca.crt)")
    if b"PRIVATE KEY" in content:
        raise CheckError(f"{file} contains a private key, which no site should have: ask for ca.crt alone")
    try:
        certificates = x509.load_pem_x509_certificates(content)
    except ValueError:
        raise CheckError(
            f"{file} is not a certificate in PEM format: give the ca.crt of the federation"
        ) from None
    for certificate in certificates:
        if not _is_authority(certificate):
            raise CheckError(
                f"{file} has a certificate that cannot sign others ({certificate.subject.rfc4514_string()}): "
                "give the ca.crt of the federation"
            )
    return certificates


def check_validity(certificates: Iterable[x509.Certificate], name: str, remedy: str) -> CheckResult:
    """Check until when certificates are valid; CheckError with the remedy when one has expired."""
    end = min(certificate.not_valid_after_utc for certificate in certificates)
    days = (end - datetime.now(UTC)) / timedelta(days=1)
    if days <= 0:
        raise CheckError(f"{name} expired on {end:%Y-%m-%d}: {remedy}")
    if days < EXPIRY_WARNING_DAYS:
        return CheckResult("warning", f"{name} expires in {days:.0f} days: {remedy}")
    return CheckResult("ok", f"{name} is valid until {end:%Y-%m-%d}")


def check_key(file: Path) -> CheckResult:
    """Check that the site's private key is one that Flower accepts, and show its fingerprint."""
    content = _read_file(file, "the site's private key (site.key)")
    _require_private(file)
    if content.startswith((b"ecdsa-", b"ssh-")):
        raise CheckError(f"{file} is the public half of a key: give the private half, site.key")
    try:
        private = load_ssh_private_key(content, None)
    except TypeError:
        raise CheckError(
            f"{file} has a passphrase, which the node cannot ask for: remove it by ssh-keygen -p -f {file}"
        ) from None
    except (ValueError, UnsupportedAlgorithm):
        raise CheckError(
            f"{file} is not a private key in OpenSSH's format: make one by ssh-keygen -t ecdsa -b 384"
        ) from None
    if not isinstance(private, ec.EllipticCurvePrivateKey):
        kind = type(private).__name__.removesuffix("PrivateKey").lstrip("_")
        raise CheckError(
            f"{file} is an {kind} key, but the SuperLink knows sites by elliptic-curve keys: make one by "
            "ssh-keygen -t ecdsa -b 384 and have its public half registered"
        )
    # Both sides can compare it with what `ssh-keygen -lf site.pub` prints.
    fingerprint = ssh_key_fingerprint(private.public_key(), hashes.SHA256())
    return CheckResult(
        "ok", f"{private.curve.name}, SHA256:{base64.b64encode(fingerprint).decode().rstrip('=')}"
    )


def check_secret(file: Path) -> CheckResult:
    """Check the secret that this SuperNode and its SuperExec share."""
    content = _read_file(file, "the secret of this site's SuperExec (superexec.secret)")
    _require_private(file)
    if not content:
        raise CheckError(f"{file} is empty: give the superexec.secret of this site")
    return CheckResult("ok", f"{file}; apps run in a separate SuperExec")


def check_trusted_keys(file: Path) -> CheckResult:
    """Check the file of public keys; an app must be signed with one of them."""
    content = _read_file(file, "the public keys of those whose apps this site runs")
    try:
        entities = yaml.safe_load(content)
        if not isinstance(entities, dict) or not entities:  # Flower would check nothing for an empty file.
            raise ValueError
        keys = [load_ssh_public_key(line.encode()) for line in entities.values()]
        if not all(isinstance(public, ed25519.Ed25519PublicKey) for public in keys):
            raise ValueError
    except (yaml.YAMLError, ValueError, AttributeError, UnsupportedAlgorithm):
        raise CheckError(
            f"{file} must map at least one key id to an Ed25519 public key, as in "
            "fpk_reviewer: 'ssh-ed25519 AAAA...'"
        ) from None
    return CheckResult("ok", f"only apps signed by {', '.join(map(str, entities))} run here")


def check_device(name: str) -> CheckResult:
    """Check that this machine has the device."""
    try:
        return CheckResult("ok", describe_device(name))
    except ConfigError as error:
        raise CheckError(f"{error}: choose another --device") from None


def check_clock(certificates: Iterable[x509.Certificate]) -> CheckResult:
    """Check that the clock is not before the start of a certificate; smaller errors cannot be seen from here.

    A SuperLink refuses what a node has signed more than 5 s ahead of its own clock or 305 s behind it
    (flwr.common.constant, SYSTEM_TIME_TOLERANCE and TIMESTAMP_TOLERANCE, in Flower 1.39).
    """
    now = datetime.now(UTC)
    start = max((c.not_valid_before_utc for c in certificates), default=now)
    if now < start:
        raise CheckError(
            f"the clock of this machine shows {now:%Y-%m-%d %H:%M} UTC, but a certificate is valid only from "
            f"{start:%Y-%m-%d %H:%M} on: set the clock, for example by NTP"
        )
    return CheckResult(
        "ok",
        f"{now:%Y-%m-%d %H:%M:%S} UTC; a SuperLink accepts clocks up to 5 s ahead of its own and 305 s "
        "behind",
    )


def check_port(host: str, number: int) -> CheckResult:
    """Check that the node's own Runtime API can listen at the port."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        with socket.socket(family) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind((host, number))
    except OSError as error:
        raise CheckError(
            f"this node cannot serve its apps at {host}:{number} ({error.strerror}): choose another --port"
        ) from None
    return CheckResult("ok", f"this node can serve its apps at {host}:{number}")


def _is_authority(certificate: x509.Certificate) -> bool:
    try:
        return certificate.extensions.get_extension_for_class(x509.BasicConstraints).value.ca
    except x509.ExtensionNotFound:
        return False


def _read_file(file: Path, expected: str) -> bytes:
    try:
        return file.read_bytes()
    except OSError as error:
        raise CheckError(f"{file} cannot be read ({error.strerror}): give {expected}") from None


def _require_private(file: Path) -> None:
    if os.name == "posix" and file.stat().st_mode & 0o007:
        raise CheckError(f"{file} can be read by all users of this machine: run chmod 600 {file}")
