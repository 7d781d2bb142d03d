"""The two certificates of a federation, as RFC 5280 wants them, and reading keys and certificates back."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import load_pem_private_key, load_ssh_private_key
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

CA_DAYS = 3650
WARN_DAYS = 30
BACKDATED = timedelta(hours=1)  # for clocks that are a little behind


class CredentialsError(ValueError):
    """Keys or certificates cannot be used: what is wrong, and what to do."""


def authority(key: ec.EllipticCurvePrivateKey) -> x509.Certificate:
    """A certificate that signs servers' certificates, and nothing else, with this key."""
    identifier = x509.SubjectKeyIdentifier.from_public_key(key.public_key())
    # The same for the same key, so that what it signed before stays good under a renewed certificate.
    subject = _name(f"CondI federation {identifier.digest.hex()[:8]}")
    return (
        _builder(subject, subject, key.public_key(), CA_DAYS)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(_usage(key_cert_sign=True, crl_sign=True), critical=True)
        .sign(key, hashes.SHA384())
    )


def server(
    key: ec.EllipticCurvePublicKey,
    names: Sequence[x509.GeneralName],
    days: int,
    ca_key: ec.EllipticCurvePrivateKey,
    ca: x509.Certificate,
) -> x509.Certificate:
    """A TLS server's certificate for these names, for `days` or as long as the CA's."""
    identifier = x509.AuthorityKeyIdentifier.from_issuer_public_key(ca.public_key())
    return (
        _builder(_name("CondI SuperLink"), ca.subject, key, days, ca.not_valid_after_utc)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_usage(digital_signature=True), critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        .add_extension(x509.SubjectAlternativeName(names), critical=False)
        .add_extension(identifier, critical=False)
        .sign(ca_key, hashes.SHA384())
    )


def signed_by(certificate: x509.Certificate, ca: x509.Certificate) -> bool:
    try:
        certificate.verify_directly_issued_by(ca)
    except (InvalidSignature, ValueError, TypeError):
        return False
    return True


def names_of(certificate: x509.Certificate) -> list[x509.GeneralName]:
    """What the certificate is for."""
    try:
        return list(certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value)
    except x509.ExtensionNotFound:
        return []


def read_certificate(path: Path) -> x509.Certificate | None:
    """The certificate in a file, None when there is no such file; CredentialsError when it is none."""
    try:
        return x509.load_pem_x509_certificate(path.read_bytes())
    except FileNotFoundError:
        return None
    except ValueError:
        raise CredentialsError(
            f"{path} is not a certificate in PEM: bring the right file back, or remove it"
        ) from None


def read_key(path: Path) -> ec.EllipticCurvePrivateKey | None:
    """The private key in a file, None when there is no such file; CredentialsError when it cannot be used."""
    try:
        content = path.read_bytes()
        load = load_ssh_private_key if b"OPENSSH" in content else load_pem_private_key
        return load(content, None)
    except FileNotFoundError:
        return None
    except (ValueError, TypeError):
        raise CredentialsError(
            f"{path} is not a private key without a passphrase: bring the right file back, or remove it"
        ) from None


def warning(name: str, certificate: x509.Certificate, now: datetime) -> str:
    """What to do about a certificate that ends soon; empty when it does not."""
    left = (certificate.not_valid_after_utc - now) / timedelta(days=1)
    if left >= WARN_DAYS:
        return ""
    when = f"ends in {left:.0f} days" if left > 0 else "has ended"
    if name == "ca.crt":
        return (
            f"{name} {when}: remove ca.crt, superlink.crt and every sites/*/ca.crt, call again with every "
            "--host, and give each site the new ca.crt"
        )
    return f"{name} {when}: remove superlink.crt, call again with every --host, and restart the SuperLink"


def _builder(
    subject: x509.Name,
    issuer: x509.Name,
    key: ec.EllipticCurvePublicKey,
    days: int,
    until: datetime | None = None,
) -> x509.CertificateBuilder:
    now = datetime.now(UTC).replace(microsecond=0)
    end = now + timedelta(days=days)
    return (
        x509.CertificateBuilder(subject_name=subject, issuer_name=issuer, public_key=key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - BACKDATED)
        .not_valid_after(min(end, until) if until else end)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key), critical=False)
    )


def _usage(**used: bool) -> x509.KeyUsage:
    kinds = "digital_signature content_commitment key_encipherment data_encipherment key_agreement "
    kinds += "key_cert_sign crl_sign encipher_only decipher_only"
    return x509.KeyUsage(**(dict.fromkeys(kinds.split(), False) | used))


def _name(common_name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common_name)])
