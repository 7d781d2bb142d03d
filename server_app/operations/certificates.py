"""Make the two certificates of a federation as RFC 5280 requires, and read keys and certificates."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import cast

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import load_pem_private_key, load_ssh_private_key
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

CA_DAYS = 3650
WARNING_DAYS = 30
BACKDATING = timedelta(hours=1)  # tolerates clocks that are a little slow


class CredentialsError(ValueError):
    """Keys or certificates cannot be used; the message says what is wrong and what to do."""


def make_ca_certificate(key: ec.EllipticCurvePrivateKey) -> x509.Certificate:
    """Make the certificate of the federation's CA, which may sign servers' certificates and nothing else."""
    identifier = x509.SubjectKeyIdentifier.from_public_key(key.public_key())
    # The same key gets the same subject, so that certificates it has signed stay valid under a renewed one.
    subject = _name(f"CondI federation {identifier.digest.hex()[:8]}")
    return (
        _builder(subject, subject, key.public_key(), CA_DAYS)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(_key_usage(key_cert_sign=True, crl_sign=True), critical=True)
        .sign(key, hashes.SHA384())
    )


def make_server_certificate(
    key: ec.EllipticCurvePublicKey,
    names: Sequence[x509.GeneralName],
    days: int,
    ca_key: ec.EllipticCurvePrivateKey,
    ca: x509.Certificate,
) -> x509.Certificate:
    """Make the TLS certificate of the SuperLink.

    Parameters
    ----------
    key : the SuperLink's public key
    names : host names and addresses that the certificate is valid for
    days : its lifetime, which ends no later than the CA's certificate
    ca_key, ca : key and certificate of the CA that signs it
    """
    identifier = x509.AuthorityKeyIdentifier.from_issuer_public_key(ca_key.public_key())
    return (
        _builder(_name("CondI SuperLink"), ca.subject, key, days, ca.not_valid_after_utc)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_key_usage(digital_signature=True), critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        .add_extension(x509.SubjectAlternativeName(names), critical=False)
        .add_extension(identifier, critical=False)
        .sign(ca_key, hashes.SHA384())
    )


def is_signed_by(certificate: x509.Certificate, ca: x509.Certificate) -> bool:
    """Return whether the CA has issued the certificate."""
    try:
        certificate.verify_directly_issued_by(ca)
    except (InvalidSignature, ValueError, TypeError):
        return False
    return True


def subject_names(certificate: x509.Certificate) -> list[x509.GeneralName]:
    """Return the host names and addresses that a certificate is valid for."""
    try:
        return list(certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value)
    except x509.ExtensionNotFound:
        return []


def read_certificate(path: Path) -> x509.Certificate | None:
    """Read a certificate; None when there is no such file, CredentialsError when it is not a certificate."""
    try:
        return x509.load_pem_x509_certificate(path.read_bytes())
    except FileNotFoundError:
        return None
    except ValueError:
        raise CredentialsError(
            f"{path} is not a certificate in PEM format: restore the right file, or remove it"
        ) from None


def read_private_key(path: Path) -> ec.EllipticCurvePrivateKey | None:
    """Read a private key; None when there is no such file, CredentialsError when it cannot be used."""
    try:
        content = path.read_bytes()
        load = load_ssh_private_key if b"OPENSSH" in content else load_pem_private_key
        key = load(content, None)
    except FileNotFoundError:
        return None
    except (ValueError, TypeError):
        raise CredentialsError(
            f"{path} is not a private key without a passphrase: restore the right file, or remove it"
        ) from None
    if not isinstance(key, ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey):  # others sign in another way
        raise CredentialsError(
            f"{path} is a key of another kind ({type(key).__name__}): expected one of elliptic curves or RSA"
        )
    return cast(ec.EllipticCurvePrivateKey, key)  # an RSA key is used in the same way


def expiry_warning(file_name: str, certificate: x509.Certificate, now: datetime) -> str:
    """Say how to renew a certificate that expires soon; empty when it does not."""
    days_left = (certificate.not_valid_after_utc - now) / timedelta(days=1)
    if days_left >= WARNING_DAYS:
        return ""
    expiry = f"expires in {days_left:.0f} days" if days_left > 0 else "has expired"
    if file_name == "ca.crt":
        return (
            f"{file_name} {expiry}: remove ca.crt, superlink.crt and every sites/*/ca.crt, run the command "
            "again with every --host, and give each site the new ca.crt"
        )
    return (
        f"{file_name} {expiry}: remove superlink.crt, run the command again with every --host, and restart "
        "the SuperLink"
    )


def _builder(
    subject: x509.Name,
    issuer: x509.Name,
    key: ec.EllipticCurvePublicKey,
    days: int,
    latest_end: datetime | None = None,
) -> x509.CertificateBuilder:
    now = datetime.now(UTC).replace(microsecond=0)
    end = now + timedelta(days=days)
    return (
        x509.CertificateBuilder(subject_name=subject, issuer_name=issuer, public_key=key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - BACKDATING)
        .not_valid_after(min(end, latest_end) if latest_end else end)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key), critical=False)
    )


def _key_usage(**used: bool) -> x509.KeyUsage:
    names = "digital_signature content_commitment key_encipherment data_encipherment key_agreement "
    names += "key_cert_sign crl_sign encipher_only decipher_only"
    return x509.KeyUsage(**(dict.fromkeys(names.split(), False) | used))


def _name(common_name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common_name)])
