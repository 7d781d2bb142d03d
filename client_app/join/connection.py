"""The connection to the SuperLink, checked before the node uses it."""

from __future__ import annotations

import socket
import ssl
from pathlib import Path

from cryptography import x509

from client_app.join.address import Address
from client_app.join.checks import CheckError, CheckResult, check_validity
from client_app.join.proxy import connect, describe_proxy, find_proxy

TIMEOUT_SECONDS = 10.0

# OpenSSL's X509_V_ERR_HOSTNAME_MISMATCH and X509_V_ERR_IP_ADDRESS_MISMATCH.
HOST_MISMATCH_CODES = (62, 64)
# OpenSSL's codes for an invalid signature, self-signed certificates and an unknown issuer.
OTHER_AUTHORITY_CODES = (7, 18, 19, 20, 21)


def fetch_server_certificate(address: Address) -> x509.Certificate:
    """Fetch the certificate that the SuperLink presents, without verifying it.

    Raises CheckError when no server at the address speaks gRPC over TLS.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    certificate, protocol = _handshake(address, context)
    if protocol != "h2" or certificate is None:
        raise CheckError(
            f"{address} speaks TLS, but not gRPC: give the address of the SuperLink's Fleet API, by default "
            "port 9092"
        )
    return x509.load_der_x509_certificate(certificate)


def verify_certificate(address: Address, authorities: Path, certificate: x509.Certificate) -> CheckResult:
    """Verify the SuperLink as gRPC will, and check until when its certificate is valid.

    Parameters
    ----------
    address : Address
    authorities : Path
        File with the certificates of the authorities that may have signed it.
    certificate : x509.Certificate
        The one that the SuperLink presents.

    Raises
    ------
    CheckError
        With the reason why gRPC would not trust the SuperLink.
    """
    remedy = "its administrator renews it (condi credentials)"
    result = check_validity([certificate], f"the SuperLink's certificate at {address}", remedy)
    context = ssl.create_default_context(cafile=str(authorities))
    context.verify_flags &= ~ssl.VERIFY_X509_STRICT  # Python sets this from 3.13 on, and gRPC does not.
    try:
        _handshake(address, context)
    except ssl.SSLCertVerificationError as error:
        raise CheckError(_verification_error(error, address, authorities, certificate)) from None
    if proxy := find_proxy(address):
        result = result._replace(text=f"{result.text}; through the proxy {describe_proxy(proxy)}")
    return result


def _verification_error(
    error: ssl.SSLCertVerificationError, address: Address, authorities: Path, certificate: x509.Certificate
) -> str:
    if error.verify_code in HOST_MISMATCH_CODES:
        return (
            f"the SuperLink's certificate is not for {address.host} but for {_host_names(certificate)}: use "
            "one of these names, or have the certificate made again (condi credentials --host)"
        )
    if error.verify_code in OTHER_AUTHORITY_CODES:
        return (
            f"the SuperLink's certificate was signed by another authority than {authorities}: ask the "
            "coordinator for its ca.crt, and whether this address is right"
        )
    return f"the SuperLink's certificate cannot be verified ({error.verify_message}): inform the coordinator"


def _host_names(certificate: x509.Certificate) -> str:
    try:
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        return "no host at all"
    return ", ".join(str(name.value) for name in names)


def _handshake(address: Address, context: ssl.SSLContext) -> tuple[bytes | None, str | None]:
    """Make a TLS handshake; return the certificate (DER) and the protocol, or raise CheckError."""
    context.set_alpn_protocols(["h2"])
    try:
        with (
            connect(address, TIMEOUT_SECONDS) as plain,
            context.wrap_socket(plain, server_hostname=address.host) as tls,
        ):
            return tls.getpeercert(binary_form=True), tls.selected_alpn_protocol()
    except ssl.SSLCertVerificationError:
        raise
    except socket.gaierror:
        raise CheckError(
            f"the host name {address.host} cannot be resolved: check the name, and this machine's DNS"
        ) from None
    except ConnectionRefusedError:
        raise CheckError(
            f"no server listens at {address}: check that the SuperLink runs, and that the port is that of "
            "its Fleet API"
        ) from None
    except (ssl.SSLError, ConnectionResetError):
        raise CheckError(
            f"{address} does not speak TLS: check the address; a SuperLink that was started with --insecure "
            "must be given certificates (condi credentials)"
        ) from None
    except TimeoutError:
        raise CheckError(
            f"{address} does not answer within {TIMEOUT_SECONDS:g} s: check the firewalls at both ends"
        ) from None
    except OSError as error:
        raise CheckError(f"{address} cannot be reached: {error.strerror}") from None
